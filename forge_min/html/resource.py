"""The pages of one resource (list, detail, new, edit, delete) and the handlers of their forms.

A form that was saved redirects with 303 (POST/redirect/GET). A rejected one is shown again with
422, the entered text, and an error beside each field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import SimpleNamespace as Item
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ..actions import MOST_RELATED
from ..auth import as_identity, current_identity
from ..errors import (
    Conflict,
    ConstraintViolation,
    DomainError,
    Forbidden,
    Invalid,
    NotFound,
    StaleVersion,
)
from ..i18n import gettext_noop, text
from ..wsgi import (
    Raw,
    Request,
    Response,
    Route,
    check_csrf,
    csrf_field,
    first,
    html_response,
    join,
    redirect,
    sent_form,
    tag,
    void,
)
from . import form, inputs, states
from .cells import PagePaths, details, row_url
from .fields import AnyActions, Fields, FormField, display_fields, input_fields, label_of
from .form import FormBase, Texts
from .inputs import CHOICE, SEARCH, Options, RelationChoices
from .layout import Layout, Render
from .list_page import ListPage, export
from .report import aggregate_csv
from .templates import WORDS, delete, show
from .templates import form as form_page
from .templates import list as list_page

Views = Mapping[str, Render]

PAGES: Views = {
    "list": list_page.render,
    "show": show.render,
    "form": form_page.render,
    "delete": delete.render,
}
"""Templates that a project may replace with resources/<r>/views/<name>.html."""

LISTING = ("", ".csv", "/-/aggregate.csv", "/new", "/new/choices", "/{id}/edit")
"""The pages that list or search rows, below a resource's path: rate limits count them."""

_NOTICES = {
    "created": gettext_noop("Created."),
    "updated": gettext_noop("Saved."),
    "deleted": gettext_noop("Deleted."),
    "restored": gettext_noop("Restored."),
}
_OVERTAKEN = gettext_noop("Another user has changed this. Submit again to delete it anyway.")
_CONFLICT = gettext_noop("Another user has changed the same fields. Choose which values to save.")
_DIFFERS = gettext_noop("differs from the saved value; choose one of the two")
_LOST = gettext_noop("can no longer be changed here; your change was dropped")
_UNKNOWN = gettext_noop(
    "This form is too old or was altered. Compare your values with the saved ones."
)
_DELETED = gettext_noop("This has been deleted since you opened it. Your entries are still here.")
_BUSY = gettext_noop("Other users keep changing this. Save again.")
_ATTRIBUTES = ("name", "label", "kind", "help", "required")  # of a field, for the template
_BASE = "_base"  # the input of the base; no column starts with "_"
_NOTHING: Texts = {}
_MAX_TRIES = 10  # of a write while other users change the same row


class OpenForm(NamedTuple):
    """A form and its state.

    row: the row that is edited; None for a new or deleted one.
    fields: the fields that the form shows.
    texts: the texts of the inputs.
    base: the state of an edit form when it was rendered; None for a new row.
    now: the texts of the row, if they may differ from those of the form.
    pairs: all that the client sent.
    """

    row: Any
    fields: Fields
    texts: Texts
    base: FormBase | None = None
    now: Texts = {}
    pairs: Texts = {}


class ResourcePages:
    """Handlers of one resource.

    path: of the list, "/flights".
    paths: the list pages of all resources.
    views: the project's own templates, by "topic.page".
    """

    def __init__(
        self, actions: AnyActions, path: str, layout: Layout, paths: PagePaths, views: Views
    ) -> None:
        self._actions, self._path, self._layout, self._paths = actions, path, layout, paths
        topic = actions.resource.topic
        self._templates = {name: views.get(f"{topic}.{name}", page) for name, page in PAGES.items()}
        self._input_fields = input_fields(actions.resource)
        self._display_fields = display_fields(actions.resource)
        self._list_page = ListPage(actions, path, paths)

    def routes(self) -> list[Route]:
        """Return the routes of these pages."""
        path, row = self._path, self._path + "/{id}"
        routes = [
            Route("GET", path, self.list, ""),
            Route("GET", path + ".csv", self.csv, ""),
            Route("GET", path + "/new", self.new, ""),
            Route("POST", path + "/new", self.create, ""),
            Route("GET", path + "/new/choices", self.choices, ""),
            Route("GET", path + "/new/", self.show, ""),  # the row of the key "new" (`row_url`)
            Route("GET", row, self.show, ""),
            Route("GET", row + "/edit", self.edit, ""),
            Route("POST", row + "/edit", self.update, ""),
            Route("GET", row + "/delete", self.ask_delete, ""),
            Route("POST", row + "/delete", self.delete, ""),
        ]
        if self._actions.resource.transitions:
            graph = partial(states.show_graph, self._actions, self._layout, path)
            routes.append(Route("GET", path + "/-/states", graph, ""))
            routes.append(Route("POST", row + "/transitions/{name}", self.transition, ""))
        if self._actions.resource.soft_delete:
            routes.append(Route("POST", row + "/restore", self.restore, ""))
        if any(column.aggregatable for column in self._actions.resource.columns):
            routes.append(
                Route("GET", path + "/-/aggregate.csv", partial(aggregate_csv, self._actions), "")
            )
        return routes

    # -- reading -----------------------------------------------------------------------------------

    def list(self, request: Request) -> Response:
        """Show one page of rows, with search and filters."""
        self._actions.allow("read")
        options = self._options(request, self._list_page.filter_fields(), request.query)
        context, status = self._list_page.context(request, options)
        new = f"{request.root}{self._path}/new" if self._actions.may("create") else ""
        title, undo = label_of(self._actions.resource.topic), self._undo(request)
        return self._live_page(request, "list", title, status, new=new, undo=undo, **context)

    def csv(self, request: Request) -> Response:
        """Send all rows of the list as CSV."""
        self._actions.allow("read")
        return export(self._actions, self._list_page.query(request))

    def show(self, request: Request) -> Response:
        """Show all values of one row."""
        self._actions.allow("read")
        return self._show(request, self._actions.get(self._key(request)))

    def _show(self, request: Request, row: Any, problem: str = "", status: int = 200) -> Response:
        may, url = self._actions.may, request.root + self._path
        context = {"row": row, "list": url, "problem": problem, "hidden": csrf_field(request)}
        context["states"] = f"{url}/-/states" if self._actions.resource.transitions else ""
        context["transitions"] = states.buttons(self._actions, row, self._row_url(request, row))
        context["edit"] = self._row_url(request, row, "edit") if may("update") else ""
        context["delete"] = self._row_url(request, row, "delete") if may("delete") else ""
        context |= details(self._actions, self._display_fields, row, self._paths, request.root)
        return self._live_page(request, "show", self._actions.label(row), status, **context)

    def choices(self, request: Request) -> Response:
        """Return the results of a search for a relation's targets, for `forms.js`."""
        name = first(request.query, "field")
        fields = (*self._input_fields, *self._display_fields)
        field = next((f for f in fields if f.name == name), None)
        if field is None or field.relation is None:
            raise NotFound(text("nothing is at this address"))
        choices = inputs.search_choices(self._target(field), first(request.query, "q"))
        body = inputs.choice_list(field.name, field.kind, choices, ())
        return html_response(body, 200, [("Cache-Control", "no-store")])

    # -- writing -----------------------------------------------------------------------------------

    def new(self, request: Request) -> Response:
        """Show the form of a new row, filled with values of the URL."""
        self._actions.allow("create")
        fields = self._fields(new=True)
        values = {f.name: request.query[f.name] for f in fields if f.name in request.query}
        return self._form(request, OpenForm(None, fields, {**form.defaults(fields), **values}))

    def create(self, request: Request) -> Response:
        """Create the row, then redirect to it."""
        self._actions.allow("create")
        fields, pairs = self._fields(new=True), sent_form(request)
        sent = form.posted(fields, pairs)
        opened = OpenForm(None, fields, {**form.defaults(fields), **sent}, pairs=pairs)
        if pairs.get("_search"):  # a search for a relation's target
            return self._form(request, opened)
        try:
            return self._done(request, "created", self._actions.create(form.data_of(fields, sent)))
        except (Invalid, Conflict, ConstraintViolation) as err:
            return self._form(request, opened, form.errors_of(err, fields), status=422)

    def edit(self, request: Request) -> Response:
        """Show the form of a row."""
        self._actions.allow("update")
        return self._form(request, self._open(request))

    def update(self, request: Request) -> Response:
        """Write the fields that the client changed, merged with changes of other users."""
        self._actions.allow("update")
        pairs = sent_form(request)
        base = form.unseal(request, first(pairs, _BASE), self._owner(request))
        identity = current_identity()
        zone = base.zone if base else identity.time_zone
        with as_identity(replace(identity, time_zone=zone)):  # times were entered in this zone
            return self._update(request, pairs, base)

    def ask_delete(self, request: Request) -> Response:
        """Ask for confirmation."""
        self._actions.allow("delete")
        return self._confirm(request, self._actions.get(self._key(request)))

    def delete(self, request: Request) -> Response:
        """Delete the row, then redirect to the list."""
        self._actions.allow("delete")
        key = self._key(request)
        row, pairs = self._actions.get(key), sent_form(request)
        if pairs.get("version") != [str(row.version)]:
            return self._confirm(request, row, text(_OVERTAKEN), status=409)
        try:
            self._actions.delete(key, version=row.version)
        except (Conflict, ConstraintViolation, Invalid) as err:
            return self._confirm(request, row, _message(err), status=409)
        soft = self._actions.resource.soft_delete
        return self._done(request, "deleted", undo=str(key) if soft else "")

    def transition(self, request: Request) -> Response:
        """Change the state of the row, then redirect to it."""
        name, key = request.params["name"], self._key(request)
        if name not in {transition.name for transition in self._actions.resource.transitions}:
            raise NotFound(text("nothing is at this address"))
        self._actions.allow(name)
        reason = first(sent_form(request), "reason")
        try:
            row = self._actions.transition(key, name, reason=reason)
        except (Conflict, ConstraintViolation, Forbidden, Invalid) as err:
            status = 422 if isinstance(err, Invalid) else 409
            return self._show(request, self._actions.get(key), _message(err), status)
        return self._done(request, "updated", row)

    def restore(self, request: Request) -> Response:
        """Restore a deleted row, then redirect to it."""
        check_csrf(request)
        row = self._actions.restore(self._key(request))
        return self._done(request, "restored", row)

    # -- helpers -----------------------------------------------------------------------------------

    def _update(self, request: Request, pairs: Texts, base: FormBase | None) -> Response:
        sent = self._sent(pairs, base)
        # A project's own update runs once per request.
        for _ in range(_MAX_TRIES if self._actions.is_inherited("update") else 1):
            try:
                now = self._open(request, base)._replace(pairs=pairs)
            except NotFound:
                if base is None:
                    raise
                fields = [f for f in form.rendered(base, self._fields(new=False)) if f.name in sent]
                opened = OpenForm(None, fields, sent, base, pairs=pairs)
                return self._form(request, opened, {"": [text(_DELETED)]}, status=404)
            assert now.base is not None
            # Without a base the client must confirm each difference before it is written.
            began = base or now.base._replace(undecided=[*now.base.fields])
            lost = form.lost_changes(began, now.fields, sent)
            decided = {f.name: first(pairs, f.name + CHOICE) for f in now.fields if base}
            merged = form.merge(began, now.fields, sent, now.texts, decided)
            # The base stays; a field that was not sent is left out, because its text is unknown.
            fields = [field for field in now.fields if field.name in sent]
            opened = now._replace(fields=fields, texts=sent)
            if base is not None and not lost and pairs.get("_search"):
                return self._form(request, opened)
            if base is None or lost or merged.conflicts:
                fresh = form.new_base(now.fields, now.texts, began.zone, merged.conflicts)
                opened = now._replace(texts=merged.texts, base=fresh)
                errors = self._conflict_errors(merged.conflicts, lost, known=base is not None)
                return self._form(request, opened, errors, status=409)
            changes = {name: merged.texts[name] for name in merged.changed}
            try:
                key = self._actions.key_of(now.row)
                data = form.data_of(now.fields, changes, now.texts)
                row = self._actions.update(key, data, version=now.row.version)
            except StaleVersion:
                continue
            except (Invalid, Conflict, ConstraintViolation) as err:
                return self._form(request, opened, form.errors_of(err, now.fields), status=422)
            return self._done(request, "updated", row)
        return self._form(request, opened, {"": [text(_BUSY)]}, status=409)

    def _conflict_errors(
        self, conflicts: Sequence[str], lost: Sequence[str], *, known: bool
    ) -> Mapping[str, Sequence[str]]:
        """Return the messages for changes that were not written. known: whether the base was."""
        errors = {name: [text(_DIFFERS)] for name in conflicts}
        labels = {field.name: field.label for field in self._input_fields}
        general = [f"{labels.get(name) or label_of(name)}: {text(_LOST)}" for name in lost]
        if conflicts or not known:
            general.insert(0, text(_CONFLICT if known else _UNKNOWN))
        return {"": general, **errors}

    def _sent(self, pairs: Texts, base: FormBase | None) -> Texts:
        """Return the texts that were sent, also of fields that the schema no longer has."""
        known = {field.name for field in self._input_fields}
        dropped = base.fields.keys() - known if base else ()
        return form.posted([*self._input_fields, *(FormField(name, "") for name in dropped)], pairs)

    def _open(self, request: Request, base: FormBase | None = None) -> OpenForm:
        """Return the form of the current row; with a base, only of the fields that it rendered."""
        row, fields = self._actions.get(self._key(request)), self._fields(new=False)
        texts = {field.name: form.texts_of(field, self._value(row, field)) for field in fields}
        if base is not None:
            return OpenForm(row, form.rendered(base, fields), texts, base, texts)
        # A relation with more targets than one read returns is not editable here.
        fields = [f for f in fields if f.kind != "many" or len(texts[f.name]) < MOST_RELATED]
        fresh = form.new_base(fields, texts, current_identity().time_zone)
        return OpenForm(row, fields, texts, fresh, texts)

    def _owner(self, request: Request) -> Sequence[str]:
        """Return the owner of a base: the form, and the user that may send it."""
        identity, key = current_identity(), str(self._key(request))
        return [self._actions.resource.topic, key, identity.user, str(identity.tenant or "")]

    def _value(self, row: Any, field: FormField) -> object:
        if field.column is not None:
            return field.value(row)
        assert field.relation is not None
        return self._actions.linked(self._actions.key_of(row), field.relation)

    def _fields(self, *, new: bool) -> Fields:
        readable = {relation.name for relation in self._actions.lists_of_keys()}
        return [
            field
            for field in self._input_fields
            if field.is_permitted() and (new or not field.immutable)
            if field.kind != "many" or field.relation and field.relation.name in readable
        ]

    def _form(
        self, request: Request, opened: OpenForm, errors: Texts = _NOTHING, status: int = 200
    ) -> Response:
        row, url = opened.row, request.root + self._path
        options = self._options(request, opened.fields, {**opened.pairs, **opened.texts})
        fields = [self._form_item(field, opened, options, errors) for field in opened.fields]
        labels = {field.name: field.label for field in opened.fields}
        hidden = [csrf_field(request)]
        if opened.base is None:
            what = label_of(self._actions.resource.event)
            action, title = f"{url}/new", text("New: {what}", what=what)
        else:
            key = self._key(request)
            title = text("Edit: {what}", what=key if row is None else self._actions.label(row))
            action = row_url(url, key, "edit")
            url = url if row is None else row_url(url, key)
            base = form.seal(request, opened.base, self._owner(request))
            hidden.append(void("input", type="hidden", name=_BASE, value=base))
        problems = [
            Item(name=name, label=labels.get(name, ""), message=message)
            for name, messages in errors.items()
            for message in messages
        ]
        context = {"action": action, "cancel": url, "hidden": join(hidden), "row": row}
        context |= {"fields": fields, "problems": problems}
        return self._layout.page(request, self._templates["form"], title, status, **context)

    def _form_item(
        self, field: FormField, opened: OpenForm, options: Options, errors: Texts
    ) -> Item:
        choices, messages = options.get(field.name), errors.get(field.name, ())
        texts = opened.texts.get(field.name, ())
        marker = inputs.empty_marker(field, choices)
        control = inputs.control(field, texts, options=choices, wrong=bool(messages))
        html = join([marker, control, self._choice(field, opened)])
        shown = {name: getattr(field, name) for name in _ATTRIBUTES}
        shown["group"] = inputs.is_group(field, choices)
        return Item(**shown, input=html, errors=messages)

    def _choice(self, field: FormField, opened: OpenForm) -> Raw:
        """Return the choice between two values, for a field that two users changed."""
        if opened.base is None or field.name not in opened.base.undecided:
            return Raw()
        theirs, targets = opened.now.get(field.name, ()), []
        if field.relation is not None:
            with suppress(DomainError):
                targets = inputs.choices_of_keys(self._target(field), theirs)
        decided = first(opened.pairs, field.name + CHOICE)
        return inputs.conflict_choice(field, inputs.format_value(field, theirs, targets), decided)

    def _options(self, request: Request, fields: Fields, pairs: Texts) -> Options:
        """Return the choices of each relation with targets that the user may read.

        An unreadable "many" has its current keys as choices, because a text input holds one key.
        """
        options: dict[str, RelationChoices] = {}
        for field in fields:
            if field.relation is not None:
                if field.kind == "many":
                    options[field.name] = RelationChoices(())
                with suppress(DomainError):
                    options[field.name] = self._relation_choices(request, field, pairs)
        return options

    def _relation_choices(
        self, request: Request, field: FormField, pairs: Texts
    ) -> RelationChoices:
        target = self._target(field)
        if (choices := inputs.all_choices(target)) is not None:
            return RelationChoices(choices)
        words = first(pairs, field.name + SEARCH)
        fetch = f"{request.root}{self._path}/new/choices?{urlencode({'field': field.name})}"
        chosen = inputs.choices_of_keys(target, pairs.get(field.name, ()))
        return RelationChoices(None, inputs.search_choices(target, words), chosen, words, fetch)

    def _target(self, field: FormField) -> AnyActions:
        assert field.relation is not None
        target: AnyActions = self._actions.registry.actions[field.relation.target]
        return target

    def _confirm(
        self, request: Request, row: Any, problem: str = "", status: int = 200
    ) -> Response:
        version = void("input", type="hidden", name="version", value=row.version)
        question = text("It disappears from all lists. You can restore it.")
        if not self._actions.resource.soft_delete:
            question = text("This cannot be undone.")
        context = {"question": question, "problem": problem, "row": row}
        context["action"] = self._row_url(request, row, "delete")
        context["cancel"] = self._row_url(request, row)
        context["hidden"] = join([csrf_field(request), version])
        title = text("Delete: {what}", what=self._actions.label(row))
        return self._layout.page(request, self._templates["delete"], title, status, **context)

    def _row_url(self, request: Request, row: Any, *more: str) -> str:
        return row_url(request.root + self._path, self._actions.key_of(row), *more)

    def _done(self, request: Request, change: str, row: Any = None, *, undo: str = "") -> Response:
        """Redirect to the row, or to the list. undo: key of the row that can be restored."""
        url = request.root + self._path
        if row is not None and self._actions.may("read"):
            url = self._row_url(request, row)
        notice = {"_done": change, "_undo": undo} if undo else {"_done": change}
        return redirect(f"{url}?{urlencode(notice)}")

    def _undo(self, request: Request) -> Raw:
        key = first(request.query, "_undo")
        if not key or not self._actions.resource.soft_delete or not self._actions.may("restore"):
            return Raw()
        action = row_url(request.root + self._path, key, "restore")
        button = tag("button", WORDS.undo, type="submit", class_="quiet")
        return tag("form", join([csrf_field(request), button]), method="post", action=action)

    def _live_page(
        self, request: Request, name: str, title: str, status: int = 200, **context: Any
    ) -> Response:
        """Return a page that reloads when a row changes, with a notice of the last change."""
        event, topic = self._actions.resource.event, self._actions.resource.topic
        context["live"] = f"{request.root}/events?topic={topic}"
        context["events"] = " ".join(f"{event}.{change}" for change in _NOTICES)
        context["notice"] = text(_NOTICES.get(first(request.query, "_done"), ""))
        return self._layout.page(request, self._templates[name], title, status, **context)

    def _key(self, request: Request) -> Any:
        return self._actions.read_key(request.params.get("id", "new"))


def _message(err: DomainError) -> str:
    """The messages of an error, for a page without a form."""
    return "; ".join(e.message for e in getattr(err, "errors", ())) or text(err.message)
