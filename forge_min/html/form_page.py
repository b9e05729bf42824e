"""The page of a form that app.py declares for fields of a resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from .. import db
from ..actions import Registry
from ..auth import require_one_of
from ..errors import ConfigError
from ..i18n import text
from ..wsgi import Request, Response, Route, local_path, redirect
from . import form
from .fields import Fields, Texts
from .layout import DeclaredForm, Layout
from .resource import ResourcePages


class FormPage(ResourcePages):
    """Handlers of one form; see `app.App.form`.

    Raises ConfigError for an unknown topic or field.
    """

    def __init__(self, registry: Registry, layout: Layout, declared: DeclaredForm) -> None:
        topic = declared.topic
        page = declared.page
        if topic not in registry.actions:
            topics = ", ".join(registry.actions)
            raise ConfigError(f"app.form: unknown topic {topic!r}; the topics are {topics}")
        views = {}
        if declared.template:
            views[f"{topic}.form"] = declared.template
        super().__init__(registry.actions[topic], page.path, layout, {}, views)
        self._page = page
        self._function = registry.fill(page.function, 2)
        self._initial = None
        if declared.initial:
            self._initial = registry.fill(declared.initial, 1)
        fields = {field.name: field for field in self._input_fields}
        for name in declared.fields:
            if name not in fields:
                problem = f"{topic} has no input {name!r}; it has {', '.join(fields)}"
                raise ConfigError(f"app.form {page.path}: {problem}")
        self._input_fields = tuple(fields[name] for name in declared.fields)

    def routes(self) -> list[Route]:
        """Return the routes of the form."""
        return [
            Route("GET", self._path, self.new),
            Route("POST", self._path, self.create),
            Route("GET", self._path + "/choices", self.choices),
        ]

    def choices(self, request: Request) -> Response:
        """Return the results of a search, if the user may open the form."""
        self._allow_create()
        return super().choices(request)

    def _allow_create(self) -> None:
        if self._page.roles:
            require_one_of(self._page.roles)

    def _initial_texts(self, request: Request, fields: Fields) -> Texts:
        texts = form.defaults(fields)
        if self._initial is not None:
            values = self._initial(request)
            for field in fields:
                if field.name in values:
                    texts[field.name] = form.texts_of(field, values[field.name])
        return texts

    def _save(self, request: Request, data: Mapping[str, Any]) -> Response:
        names = [field.name for field in self._fields(new=True)]
        values = self._actions.check_fields(data, names)
        with db.transaction(self._actions.connection()):
            url = request.root + self._function(values, request)
        return redirect(local_path(url) or f"{request.root}/")

    def _once_options(self, request: Request) -> dict[str, Any]:
        return {"operation": "", "path": request.path}

    def _frame(self, request: Request) -> dict[str, Any]:
        title = text(self._page.title)
        action = request.root + quote(request.path)
        return {"title": title, "action": action, "cancel": f"{request.root}/", "trail": []}

    def _choices_url(self, request: Request) -> str:
        return f"{request.root}{quote(request.path)}/choices"
