"""The pages of one resource without a form: list, deleted rows, one row, and operations on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import SimpleNamespace as Item
from typing import Any
from urllib.parse import urlencode

from ..auth import current_identity
from ..errors import BadRequest, DomainError, Forbidden, Invalid, NotFound
from ..i18n import gettext_noop, text
from ..wsgi import (
    Raw,
    Request,
    Response,
    check_csrf,
    csrf_field,
    first,
    html_response,
    join,
    redirect,
    sent_form,
    tag,
)
from . import inputs
from .cells import PagePaths, row_url
from .fields import AnyActions, Fields, FormField, Texts, display_fields, input_fields, label_of
from .form import WRITE_ERRORS, Notice, seal, unseal
from .inputs import SEARCH, Options, RelationChoices
from .layout import Hyperlink, Layout, Render, hidden_fields, messages_of
from .lists import ListPage, Selection, export
from .record import details
from .templates import WORDS, delete, show
from .templates import form as form_page
from .templates import list as list_page
from .titles import title_of

Views = Mapping[str, Render]

PAGES: Views = {
    "list": list_page.render,
    "show": show.render,
    "form": form_page.render,
    "delete": delete.render,
}
"""Templates that a project may replace with resources/<r>/views/<name>.html."""

_NOTICES = {
    "created": gettext_noop("Created."),
    "updated": gettext_noop("Saved."),
    "deleted": gettext_noop("Deleted."),
    "restored": gettext_noop("Restored."),
}


class RowPages:
    """Handlers of one resource.

    path: of the list, "/flights".
    paths: the list pages of all resources.
    views: the project's own templates, by "topic.page".
    verbs: name → function of (key, request), for buttons on the page of a row.
    """

    def __init__(
        self,
        actions: AnyActions,
        path: str,
        layout: Layout,
        paths: PagePaths,
        views: Views,
        verbs: Mapping[str, Callable[[Any, Request], Any]] = {},
    ) -> None:
        self._actions = actions
        self._path = path
        self._layout = layout
        self._paths = paths
        topic = actions.resource.topic
        self._templates = {name: views.get(f"{topic}.{name}", page) for name, page in PAGES.items()}
        self._input_fields = input_fields(actions.resource)
        self._display_fields = display_fields(actions.resource)
        self._selection = Selection(actions, path, layout, verbs, self._done)
        self._verbs = verbs

    def list(self, request: Request) -> Response:
        """Show one page of rows, with search and filters."""
        self._actions.allow("read")
        page = ListPage(self._actions, self._path, self._paths, request)
        options = self._options(request, page.filters.choice_fields(), request.query)
        context, status = page.context(options)
        context["operations"] = self._selection.operations()
        context["token"] = csrf_field(request)
        context["trash"] = ""
        if self._may_restore():
            context["trash"] = f"{request.root}{self._path}/-/trash"
        context["new"] = ""
        if self._actions.may("create"):
            context["new"] = f"{request.root}{self._path}/new"
        return self._live_page(request, "list", self._plural(), status, **context)

    def trash(self, request: Request) -> Response:
        """Show the deleted rows, which can be restored."""
        self._actions.allow("read")
        self._actions.allow("restore")
        page = ListPage(self._actions, self._path, self._paths, request)
        context, status = page.context({}, deleted=True)
        context["operations"] = self._selection.operations(deleted=True)
        context["token"] = csrf_field(request)
        context["trail"] = [self._list_link(request)]
        title = text("Deleted: {what}", what=self._plural())
        return self._live_page(request, "list", title, status, new="", undo="", trash="", **context)

    def csv(self, request: Request) -> Response:
        """Send all rows of the list as CSV."""
        self._actions.allow("read")
        page = ListPage(self._actions, self._path, self._paths, request)
        return export(self._actions, page.query())

    def show(self, request: Request, problem: str = "", status: int = 200) -> Response:
        """Show all values of one row, with the problem of an operation on it."""
        self._actions.allow("read")
        actions = self._actions
        row = actions.get(self._key(request))
        title = title_of(actions, row)
        context = details(actions, self._display_fields, row, self._paths, request.root)
        context["row"] = row
        context["problem"] = problem
        context["hidden"] = _hidden(request, row)
        context["trail"] = [self._list_link(request)]
        context["buttons"] = self._buttons(row, self._row_url(request, row), title)
        context["states"] = context["edit"] = context["delete"] = ""
        if actions.resource.transitions:
            context["states"] = f"{request.root}{self._path}/-/states"
        if actions.may("update"):
            context["edit"] = self._row_url(request, row, "edit")
        if actions.may("delete"):
            context["delete"] = self._row_url(request, row, "delete")
        return self._live_page(request, "show", title, status, **context)

    def _buttons(self, row: Any, url: str, title: str) -> Sequence[Item]:
        """Return the transitions and verbs that the user may perform on a row.

        url: of the row.
        """
        buttons = []
        for transition in self._actions.possible_transitions(row):
            name = transition.name
            reason = transition.needs_reason
            buttons.append(Item(name=name, action=f"{url}/transitions/{name}", reason=reason))
        for name in self._verbs:
            if self._actions.may(name):
                buttons.append(Item(name=name, action=f"{url}/verbs/{name}", reason=False))
        for button in buttons:
            button.label = label_of(button.name)
            button.question = text("{operation}: {what}?", operation=button.label, what=title)
        return buttons

    def choices(self, request: Request) -> Response:
        """Return the results of a search for a relation's targets, for `forms.js`."""
        name = first(request.query, "field")
        fields = (*self._input_fields, *self._display_fields)
        field = next((field for field in fields if field.name == name), None)
        if field is None or field.relation is None:
            raise NotFound(text("nothing is at this address"))
        choices = inputs.search_choices(self._target(field), first(request.query, "q"))
        body = inputs.choice_list(field.name, field.kind, choices, ())
        return html_response(body, 200, [("Cache-Control", "no-store")])

    # -- operations -------------------------------------------------------------------------------

    def ask_delete(self, request: Request, problem: str = "") -> Response:
        """Ask for confirmation, again after a problem."""
        self._actions.allow("delete")
        row = self._actions.get(self._key(request))
        question = text("It disappears from all lists. You can restore it.")
        if not self._actions.resource.soft_delete:
            question = text("This cannot be undone.")
        link = Hyperlink(title_of(self._actions, row), self._row_url(request, row))
        status = 200
        if problem:
            status = 409
        return self._layout.page(
            request,
            self._templates["delete"],
            text("Delete: {what}", what=link.label),
            status,
            question=question,
            problem=problem,
            row=row,
            action=self._row_url(request, row, "delete"),
            cancel=link.href,
            hidden=_hidden(request, row),
            trail=[self._list_link(request), link],
        )

    def delete(self, request: Request) -> Response:
        """Delete the row, then redirect to the list."""
        self._actions.allow("delete")
        key = self._key(request)
        try:
            self._actions.delete(key, version=_shown_version(request))
        except WRITE_ERRORS as err:
            return self.ask_delete(request, messages_of(err))
        undo = ""
        if self._actions.resource.soft_delete:
            undo = str(key)
        return self._done(request, "deleted", undo=undo)

    def transition(self, name: str, request: Request) -> Response:
        """Change the state of the row as shown, then redirect to it."""
        self._actions.allow(name)
        key = self._key(request)
        version = _shown_version(request)
        reason = first(request.form(), "reason")
        transition = partial(self._actions.transition, key, name, reason=reason, version=version)
        return self._perform(request, transition)

    def verb(self, name: str, request: Request) -> Response:
        """Call a verb of the project on the row as shown, then redirect to it."""
        self._actions.allow(name)
        key = self._key(request)
        version = _shown_version(request)
        verb = partial(self._actions.run_verb, key, version, self._verbs[name], request)
        return self._perform(request, verb)

    def _perform(self, request: Request, work: Callable[[], Any]) -> Response:
        """Redirect to the row that `work` returns, or show its error on the page of the row."""
        try:
            return self._done(request, "updated", work())
        except Invalid as err:
            return self.show(request, messages_of(err), 422)
        except (*WRITE_ERRORS, BadRequest, Forbidden) as err:
            return self.show(request, messages_of(err), 409)

    def restore(self, request: Request) -> Response:
        """Restore a deleted row, then redirect to it."""
        check_csrf(request)
        row = self._actions.restore(self._key(request))
        return self._done(request, "restored", row)

    # -- helpers ----------------------------------------------------------------------------------

    def _options(self, request: Request, fields: Fields, pairs: Texts) -> Options:
        """Return the choices of each relation with targets that the user may read.

        An unreadable "many" has its current keys as choices, because a text input holds one key.
        """
        options = {}
        for field in fields:
            if field.relation is None:
                continue
            if field.kind == "many":
                options[field.name] = RelationChoices(())
            with suppress(DomainError):
                options[field.name] = self._relation_choices(request, field, pairs)
        return options

    def _relation_choices(
        self, request: Request, field: FormField, pairs: Texts
    ) -> RelationChoices:
        target = self._target(field)
        choices = inputs.all_choices(target)
        if choices is not None:
            return RelationChoices(choices)
        name = field.name
        words = first(pairs, name + SEARCH)
        query = urlencode({"field": name})
        fetch = f"{self._choices_url(request)}?{query}"
        chosen = inputs.choices_of_keys(target, pairs.get(name, ()))
        options = RelationChoices(None, chosen=chosen, words=words, fetch=fetch)
        try:
            matches = inputs.search_choices(target, words)
        except BadRequest as err:
            return options._replace(problem=text(err.message))
        return options._replace(matches=matches)

    def _choices_url(self, request: Request) -> str:
        return f"{request.root}{self._path}/new/choices"

    def _target(self, field: FormField) -> AnyActions:
        assert field.relation is not None
        target: AnyActions = self._actions.registry.actions[field.relation.target]
        return target

    def _may_restore(self) -> bool:
        return self._actions.resource.soft_delete and self._actions.may("restore")

    def _plural(self) -> str:
        return label_of(self._actions.resource.topic)

    def _list_link(self, request: Request) -> Hyperlink:
        return Hyperlink(self._plural(), f"{request.root}{self._path}")

    def _row_url(self, request: Request, row: Any, *segments: str) -> str:
        return row_url(f"{request.root}{self._path}", self._actions.key_of(row), *segments)

    def _done(self, request: Request, change: str, row: Any = None, *, undo: str = "") -> Response:
        """Redirect to the row, or to the list. undo: key of the row that can be restored."""
        url = f"{request.root}{self._path}"
        if row is not None and self._actions.may("read"):
            url = self._row_url(request, row)
        notice = seal(request, Notice(change, undo), [current_identity().user])
        return redirect(f"{url}?_done={notice}")

    def _undo(self, request: Request, key: str) -> Raw:
        if not key or not self._may_restore():
            return Raw()
        action = row_url(f"{request.root}{self._path}", key, "restore")
        button = tag("button", WORDS.undo, type="submit", class_="quiet")
        return tag("form", join([csrf_field(request), button]), method="post", action=action)

    def _live_page(
        self, request: Request, name: str, title: str, status: int = 200, **context: Any
    ) -> Response:
        """Return a page that reloads when a row changes, with a notice of the last change."""
        resource = self._actions.resource
        sealed = first(request.query, "_done")
        notice = unseal(request, sealed, [current_identity().user], Notice) or Notice()
        context["live"] = f"{request.root}/events?topic={resource.topic}"
        context["events"] = " ".join(f"{resource.event}.{change}" for change in _NOTICES)
        context["notice"] = text(_NOTICES.get(notice.change, ""))
        context.setdefault("undo", self._undo(request, notice.undo))
        return self._layout.page(request, self._templates[name], title, status, **context)

    def _key(self, request: Request) -> Any:
        return self._actions.read_key(request.params.get("id", "new"))


def _hidden(request: Request, row: Any) -> Raw:
    """Return the hidden inputs of a form about a row: a token, and the version that is shown."""
    return hidden_fields(request, {"version": [row.version]})


def _shown_version(request: Request) -> int:
    """Check the token of a form, and return the version of the row that its page showed.

    Returns -1, which no row has, for a form without a version.
    """
    version = first(sent_form(request), "version")
    if re.fullmatch("[1-9][0-9]{0,17}", version):
        return int(version)
    return -1
