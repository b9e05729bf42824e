"""The page of a form that app.py declares for fields of a resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from .. import db
from ..auth import require_one_of
from ..errors import ConfigError
from ..i18n import text
from ..wsgi import Request, Response, Route, redirect
from . import form
from .fields import AnyActions, Fields
from .form import Texts
from .layout import Layout, NavPage, Render
from .resource import Frame, ResourcePages


class FormPage(ResourcePages):
    """Handlers of one form; see `app.App.form`.

    page: its title, and the roles that may open it.
    names: the fields, in order.
    function: takes valid values and the request; returns the path of the next page.
    initial: takes the request; returns the first values by field.
    template: replaces the built-in page, unless it is None.

    Raises ConfigError for an unknown field.
    """

    def __init__(
        self,
        actions: AnyActions,
        path: str,
        layout: Layout,
        page: NavPage,
        names: Sequence[str],
        function: Callable[[Mapping[str, Any], Request], str],
        initial: Callable[[Request], Mapping[str, Any]],
        template: Render | None,
    ) -> None:
        topic = actions.resource.topic
        super().__init__(actions, path, layout, {}, {f"{topic}.form": template} if template else {})
        self._page, self._function, self._initial = page, function, initial
        fields = {field.name: field for field in self._input_fields}
        for name in names:
            if name not in fields:
                known = ", ".join(fields)
                raise ConfigError(f"app.form {path}: {topic} has no input {name!r}; it has {known}")
        self._input_fields = tuple(fields[name] for name in names)

    def routes(self) -> list[Route]:
        """Return the routes of the form."""
        return [
            Route("GET", self._path, self.new, ""),
            Route("POST", self._path, self.create, ""),
            Route("GET", self._path + "/choices", self.choices, ""),
        ]

    def _allow_create(self) -> None:
        if self._page.roles:
            require_one_of(self._page.roles)

    def _initial_texts(self, request: Request, fields: Fields) -> Texts:
        values = self._initial(request)
        texts = {f.name: form.texts_of(f, values[f.name]) for f in fields if f.name in values}
        return {**form.defaults(fields), **texts}

    def _save(self, request: Request, data: Mapping[str, Any]) -> Response:
        values = self._actions.check_fields(data, [field.name for field in self._input_fields])
        with db.transaction(self._actions.connection()):
            path = self._function(values, request)
        return redirect(request.root + path)

    def _once_options(self) -> dict[str, Any]:
        return {"operation": "", "path": self._path}

    def _frame(self, request: Request) -> Frame:
        action = request.root + quote(request.path)
        return Frame(text(self._page.title), action, f"{request.root}/", [])

    def _choices_url(self, request: Request) -> str:
        return f"{request.root}{quote(request.path)}/choices"
