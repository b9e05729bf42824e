"""The pages of one resource: their routes, and the forms to create and edit a row.

A form that was saved redirects with 303 (POST/redirect/GET). A rejected one is shown again with
422, the entered text, and an error beside each field.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import SimpleNamespace as Item
from typing import Any, NamedTuple
from uuid import uuid4

from ..actions import IN_PROGRESS, MOST_RELATED
from ..auth import as_identity, current_identity
from ..errors import Conflict, DomainError, NotFound, StaleVersion
from ..i18n import gettext_noop, text
from ..wsgi import (
    Raw,
    Request,
    Response,
    Route,
    client_network,
    first,
    join,
    sent_form,
    tag,
    user_zone,
)
from . import form, inputs, states
from .cells import row_url
from .fields import Fields, FormField, Texts, label_of
from .form import WRITE_ERRORS, FormBase
from .inputs import CHOICE, Options
from .layout import Hyperlink, hidden_fields
from .lists import show_outcome
from .report import aggregate_csv
from .row_pages import RowPages
from .titles import title_of

ROW_PAGES = ("/{id}", "/{id}/edit", "/{id}/delete", "/new/")
"""The pages of one row, below a resource's path."""

_CONFLICT = gettext_noop("Another user has changed the same fields. Choose which values to save.")
_DIFFERS = gettext_noop("differs from the saved value; choose one of the two")
_LOST = gettext_noop("can no longer be changed here; your change was dropped")
_UNKNOWN = gettext_noop(
    "This form is too old or was altered. Compare your values with the saved ones."
)
_DELETED = gettext_noop("This has been deleted since you opened it. Your entries are still here.")
_BUSY = gettext_noop("Other users keep changing this. Save again.")
_BASE = "_base"  # the input of the base; no column starts with "_"
_ONCE = "_once"  # the input of the token of a new row's form
_LONGEST_TOKEN = 64  # characters
# Seconds, while the same form is being saved.
_FIRST_PAUSE = 0.1
_LAST_PAUSE = 2.0
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


class ResourcePages(RowPages):
    """Handlers of one resource, with its forms. Parameters as of `RowPages`."""

    def routes(self) -> list[Route]:
        """Return the routes of these pages."""
        path = self._path
        row = f"{path}/{{id}}"
        outcome = partial(show_outcome, self._actions, self._layout, path)
        routes = [
            Route("GET", path, self.list),
            Route("GET", f"{path}.csv", self.csv),
            Route("POST", f"{path}/-/selected", self._selection.act),
            Route("GET", f"{path}/-/selected/{{job}}", outcome),
            Route("GET", f"{path}/new", self.new),
            Route("POST", f"{path}/new", self.create),
            Route("GET", f"{path}/new/choices", self.choices),
            Route("GET", f"{path}/new/", self.show),  # the row of the key "new" (`row_url`)
            Route("GET", row, self.show),
            Route("GET", f"{row}/edit", self.edit),
            Route("POST", f"{row}/edit", self.update),
            Route("GET", f"{row}/delete", self.ask_delete),
            Route("POST", f"{row}/delete", self.delete),
        ]
        if self._actions.resource.transitions:
            graph = partial(states.show_graph, self._actions, self._layout, path)
            routes.append(Route("GET", f"{path}/-/states", graph))
        for transition in self._actions.resource.transitions:
            name = transition.name
            handler = partial(self.transition, name)
            routes.append(Route("POST", f"{row}/transitions/{name}", handler))
        for name in self._verbs:
            handler = partial(self.verb, name)
            routes.append(Route("POST", f"{row}/verbs/{name}", handler))
        if self._actions.resource.soft_delete:
            routes.append(Route("POST", f"{row}/restore", self.restore))
            routes.append(Route("GET", f"{path}/-/trash", self.trash))
        if any(column.aggregatable for column in self._actions.resource.columns):
            aggregate = partial(aggregate_csv, self._actions)
            routes.append(Route("GET", f"{path}/-/aggregate.csv", aggregate))
        return routes

    def new(self, request: Request) -> Response:
        """Show the form of a new row, filled with values of the URL."""
        self._allow_create()
        fields = self._fields(new=True)
        texts = {**self._initial_texts(request, fields)}
        for field in fields:
            if field.name in request.query:
                texts[field.name] = request.query[field.name]
        return self._form(request, OpenForm(None, fields, texts))

    def create(self, request: Request) -> Response:
        """Create the row, then redirect to it."""
        self._allow_create()
        fields = self._fields(new=True)
        pairs = sent_form(request)
        sent = form.posted(fields, pairs)
        texts = {**self._initial_texts(request, fields), **sent}
        opened = OpenForm(None, fields, texts, pairs=pairs)
        if pairs.get("_search"):  # a search for a relation's target
            return self._form(request, opened)
        token = first(pairs, _ONCE)[:_LONGEST_TOKEN]
        try:
            data = form.data_of(fields, sent)
            return self._create_once(request, data, token)
        except WRITE_ERRORS as err:
            errors = form.errors_of(err, fields)
            return self._form(request, opened, errors, status=422)

    def _create_once(self, request: Request, data: Mapping[str, Any], token: str) -> Response:
        """Create the row once for the token of the form, however often the form is sent.

        token: "" for a form without one, as of a script.
        """
        if not token:
            return self._save(request, data)

        def run(_: object) -> tuple[int, list[tuple[str, str]], bytes]:
            response = self._save(request, data)
            return response.status, response.headers, b""

        content = repr(sorted(data.items()))
        digest = hashlib.sha256(content.encode()).hexdigest()
        options = {"client": client_network(request), **self._once_options(request)}
        pause = _FIRST_PAUSE
        while True:
            try:
                status, headers, body, _ = self._actions.once(token, digest, run, **options)
                return Response(status, body, headers)
            except Conflict as err:
                if err.code != IN_PROGRESS or pause > _LAST_PAUSE:
                    raise
            time.sleep(pause)
            pause *= 2

    def edit(self, request: Request) -> Response:
        """Show the form of a row."""
        self._actions.allow("update")
        return self._form(request, self._open(request))

    def update(self, request: Request) -> Response:
        """Write the fields that the client changed, merged with changes of other users."""
        self._actions.allow("update")
        pairs = sent_form(request)
        base = form.unseal(request, first(pairs, _BASE), self._owner(request), FormBase)
        zone = str(user_zone())
        if base:
            zone = base.zone
        identity = replace(current_identity(), time_zone=zone)
        with as_identity(identity):  # times were entered in this zone
            return self._update(request, pairs, base)

    # -- the form of a new row, which `FormPage` replaces ------------------------------------------

    def _allow_create(self) -> None:
        """Raise Unauthenticated or Forbidden if the user may not send the form."""
        self._actions.allow("create")

    def _initial_texts(self, request: Request, fields: Fields) -> Texts:
        return form.defaults(fields)

    def _save(self, request: Request, data: Mapping[str, Any]) -> Response:
        return self._done(request, "created", self._actions.create(data))

    def _once_options(self, request: Request) -> dict[str, Any]:
        """Return further parameters of `Actions.once`."""
        return {"repeatable": self._actions.is_inherited("create", "validate")}

    def _frame(self, request: Request) -> dict[str, Any]:
        """Return the variables around the form: title, URLs to save and to leave it, and trail."""
        link = self._list_link(request)
        title = text("New: {what}", what=label_of(self._actions.resource.event))
        action = f"{link.href}/new"
        return {"title": title, "action": action, "cancel": link.href, "trail": [link]}

    # -- helpers ----------------------------------------------------------------------------------

    def _update(self, request: Request, pairs: Texts, base: FormBase | None) -> Response:
        sent = self._sent(pairs, base)
        tries = 1  # a project's own update runs once per request
        if self._actions.is_inherited("update"):
            tries = _MAX_TRIES
        for _ in range(tries):
            try:
                now = self._open(request, base)._replace(pairs=pairs)
            except NotFound:
                if base is None:
                    raise
                fields = form.rendered(base, self._fields(new=False))
                fields = [field for field in fields if field.name in sent]
                opened = OpenForm(None, fields, sent, base, pairs=pairs)
                return self._form(request, opened, {"": [text(_DELETED)]}, status=404)
            decisions = {}
            if base is not None:
                start = base
                for field in now.fields:
                    decisions[field.name] = first(pairs, field.name + CHOICE)
            else:
                # The client must confirm each difference before it is written.
                assert now.base is not None
                start = now.base._replace(undecided=[*now.base.fields])
            lost = form.lost_changes(start, now.fields, sent)
            merged = form.merge(start, now.fields, sent, now.texts, decisions)
            # The base stays; a field that was not sent is left out, because its text is unknown.
            fields = [field for field in now.fields if field.name in sent]
            opened = now._replace(fields=fields, texts=sent)
            if base is not None and not lost and pairs.get("_search"):
                return self._form(request, opened)
            if base is None or lost or merged.conflicts:
                fresh = form.new_base(now.fields, now.texts, start.zone, merged.conflicts)
                opened = now._replace(texts=merged.texts, base=fresh)
                errors = self._conflict_errors(merged.conflicts, lost, known=base is not None)
                return self._form(request, opened, errors, status=409)
            changes = {name: merged.texts[name] for name in merged.changed}
            key = self._actions.key_of(now.row)
            try:
                data = form.data_of(now.fields, changes, now.texts)
                row = self._actions.update(key, data, version=now.row.version)
            except StaleVersion:
                continue
            except WRITE_ERRORS as err:
                errors = form.errors_of(err, now.fields)
                return self._form(request, opened, errors, status=422)
            return self._done(request, "updated", row)
        return self._form(request, opened, {"": [text(_BUSY)]}, status=409)

    def _conflict_errors(
        self, conflicts: Sequence[str], lost: Sequence[str], *, known: bool
    ) -> Mapping[str, Sequence[str]]:
        """Return the messages for changes that were not written. known: whether the base was."""
        general = []
        if not known:
            general.append(text(_UNKNOWN))
        elif conflicts:
            general.append(text(_CONFLICT))
        labels = {field.name: field.label for field in self._input_fields}
        for name in lost:
            label = labels.get(name) or label_of(name)
            general.append(f"{label}: {text(_LOST)}")
        errors = {"": general}
        for name in conflicts:
            errors[name] = [text(_DIFFERS)]
        return errors

    def _sent(self, pairs: Texts, base: FormBase | None) -> Texts:
        """Return the texts that were sent, also of fields that the schema no longer has."""
        fields = [*self._input_fields]
        if base:
            dropped = base.fields.keys() - {field.name for field in fields}
            fields += [FormField(name, "") for name in dropped]
        return form.posted(fields, pairs)

    def _open(self, request: Request, base: FormBase | None = None) -> OpenForm:
        """Return the form of the current row; with a base, only of the fields that it rendered."""
        row = self._actions.get(self._key(request))
        fields = self._fields(new=False)
        texts = {field.name: form.texts_of(field, self._value(row, field)) for field in fields}
        if base is not None:
            return OpenForm(row, form.rendered(base, fields), texts, base, texts)
        # A relation with more targets than one read returns is not editable here.
        fields = [f for f in fields if f.kind != "many" or len(texts[f.name]) < MOST_RELATED]
        base = form.new_base(fields, texts, str(user_zone()))
        return OpenForm(row, fields, texts, base, texts)

    def _owner(self, request: Request) -> Sequence[str]:
        """Return the owner of a base: the form, and the user that may send it."""
        identity = current_identity()
        key = str(self._key(request))
        tenant = str(identity.tenant or "")
        return [self._actions.resource.topic, key, identity.user, tenant]

    def _value(self, row: Any, field: FormField) -> object:
        if field.column is not None:
            return field.value(row)
        assert field.relation is not None
        return self._actions.linked(self._actions.key_of(row), field.relation)

    def _fields(self, *, new: bool) -> Fields:
        readable = {relation.name for relation in self._actions.lists_of_keys()}
        locked = self._actions.hidden() | self._actions.refused()
        fields = []
        for field in self._input_fields:
            if field.name in locked or (field.immutable and not new):
                continue
            relation = field.relation
            if field.kind != "many" or (relation and relation.name in readable):
                fields.append(field)
        return fields

    def _form(
        self, request: Request, opened: OpenForm, errors: Texts = _NOTHING, status: int = 200
    ) -> Response:
        options = self._options(request, opened.fields, {**opened.pairs, **opened.texts})
        items = [self._form_item(field, opened, options, errors) for field in opened.fields]
        labels = {item.name: item.label for item in items}
        if opened.base is None:
            context = self._frame(request)
            token = first(opened.pairs, _ONCE) or str(uuid4())
            hidden = {_ONCE: [token]}
        else:
            context = self._edit_frame(request, opened.row)
            base = form.seal(request, opened.base, self._owner(request))
            hidden = {_BASE: [base]}
        problems = []
        for name, messages in errors.items():
            for message in messages:
                problems.append(Item(name=name, label=labels.get(name, ""), message=message))
        context["row"] = opened.row
        context["fields"] = items
        context["problems"] = problems
        context["hidden"] = hidden_fields(request, hidden)
        return self._layout.page(request, self._templates["form"], status=status, **context)

    def _edit_frame(self, request: Request, row: Any) -> dict[str, Any]:
        """Return the variables around the form of a row. row: None for a deleted one."""
        link = self._list_link(request)
        key = self._key(request)
        what = label_of(self._actions.resource.event)
        cancel = link.href
        trail = [link]
        if row is not None:
            what = title_of(self._actions, row)
            cancel = row_url(link.href, key)
            trail.append(Hyperlink(what, cancel))
        title = text("Edit: {what}", what=what)
        action = row_url(link.href, key, "edit")
        return {"title": title, "action": action, "cancel": cancel, "trail": trail}

    def _form_item(
        self, field: FormField, opened: OpenForm, options: Options, errors: Texts
    ) -> Item:
        choices = options.get(field.name)
        item = Item(name=field.name, label=field.label, kind=field.kind, help=field.help)
        item.required = field.required
        item.errors = errors.get(field.name, ())
        item.group = inputs.is_group(field, choices)
        marker = inputs.empty_marker(field, choices)
        texts = opened.texts.get(field.name, ())
        control = inputs.control(field, texts, options=choices, wrong=bool(item.errors))
        item.input = join([marker, control, self._choice(field, opened)])
        if opened.row is not None and field.name in self._actions.locked(opened.row):
            item.input = tag("fieldset", item.input, disabled=True, class_="field")
        return item

    def _choice(self, field: FormField, opened: OpenForm) -> Raw:
        """Return the choice between two values, for a field that two users changed."""
        if opened.base is None or field.name not in opened.base.undecided:
            return Raw()
        theirs = opened.now.get(field.name, ())
        targets = []
        if field.relation is not None:
            with suppress(DomainError):
                targets = inputs.choices_of_keys(self._target(field), theirs)
        value = inputs.format_value(field, theirs, targets)
        decision = first(opened.pairs, field.name + CHOICE)
        return inputs.conflict_choice(field, value, decision)
