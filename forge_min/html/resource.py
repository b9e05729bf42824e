"""The pages of one resource: list, detail, new, edit, delete; and what their forms send.

A form that was done leads on by 303 (POST/redirect/GET); one that was not is shown again with 422,
what was written in it, and what is wrong beside each field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import SimpleNamespace as Item
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ..actions import MOST_RELATED, Actions
from ..auth import as_identity, current_identity
from ..errors import (
    Conflict,
    ConstraintViolation,
    DomainError,
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
    join,
    redirect,
    sent_form,
    sign_form,
    tag,
    void,
)
from .cells import Detail, Places, address
from .fields import Field, given_fields, shown_fields, words
from .form import (
    Base,
    Texts,
    data_of,
    defaults,
    errors_of,
    lost_changes,
    merge,
    new_base,
    posted,
    rendered,
    seal,
    texts_of,
    unseal,
)
from .inputs import (
    CHOICE,
    SEARCH,
    Options,
    choice_list,
    conflict_choice,
    control,
    few,
    is_group,
    named,
    present,
    search,
    spoken_value,
)
from .layout import Frame, Render
from .list_page import Listing, export
from .templates import WORDS, delete, form, show
from .templates import list as list_page

PAGES: Mapping[str, Render] = {
    "list": list_page.render, "show": show.render, "form": form.render, "delete": delete.render,
}  # fmt: skip
"""The templates that a project may have its own of, in resources/<r>/views/<name>.html."""

LISTING = ("", ".csv", "/new", "/new/choices", "/{id}/edit")
"""The pages that list or search rows, below a resource's path: rate limits count them."""

_NOTICES = {
    "created": gettext_noop("Created."),
    "updated": gettext_noop("Saved."),
    "deleted": gettext_noop("Deleted."),
    "restored": gettext_noop("Restored."),
}
_OVERTAKEN = gettext_noop(
    "Somebody else has changed this meanwhile. Do it again to do it all the same."
)
_CONFLICT = gettext_noop("Another user has changed the same fields meanwhile.")
_DIFFERS = gettext_noop("differs from the saved value; choose one of the two")
_LOST = gettext_noop("can no longer be changed here; your change of it was dropped")
_UNKNOWN = gettext_noop("This form is too old or was altered. Compare it with what is saved.")
_DELETED = gettext_noop("This was deleted meanwhile. What you entered is still here.")
_BUSY = gettext_noop("Other users keep changing this. Save again.")
_SHOWN = ("name", "label", "kind", "help", "required")  # of a field, in the template
_BASE = "_base"  # no column begins so
_TRIES = 10  # of a write, while other users change the same row


class Writing(NamedTuple):
    """A form that is filled in.

    row: the row that is changed, None for a new one or one that was deleted.
    base: what an edit form showed when it was rendered.
    now: the texts of the row, if they may differ from those of the form.
    """

    row: Any
    fields: Sequence[Field]
    texts: Texts
    base: Base | None = None
    now: Texts = {}


class ResourcePages:
    """Handlers of one resource.

    path: of the list, "/flights". views: the project's own templates, by "topic.page".
    """

    def __init__(
        self, actions: Actions[Any, Any, Any], path: str, frame: Frame, places: Places,
        views: Mapping[str, Render],
    ) -> None:  # fmt: skip
        self._actions, self._path, self._frame = actions, path, frame
        topic = actions.resource.topic
        self._templates = {name: views.get(f"{topic}.{name}", page) for name, page in PAGES.items()}
        self._given = given_fields(actions.resource)
        self._shown = shown_fields(actions.resource)
        self._listing = Listing(actions, path, places)
        self._detail = Detail(actions, places)

    def routes(self) -> list[Route]:
        """The routes of these pages."""
        path, row = self._path, self._path + "/{id}"
        made = [
            Route("GET", path, self.list, ""),
            Route("GET", path + ".csv", self.csv, ""),
            Route("GET", path + "/new", self.new, ""),
            Route("POST", path + "/new", self.create, ""),
            Route("GET", path + "/new/choices", self.choices, ""),
            Route("GET", path + "/new/", self.show_new, ""),
            Route("GET", row, self.show, ""),
            Route("GET", row + "/edit", self.edit, ""),
            Route("POST", row + "/edit", self.update, ""),
            Route("GET", row + "/delete", self.ask_delete, ""),
            Route("POST", row + "/delete", self.delete, ""),
        ]
        if self._actions.resource.soft_delete:
            made.append(Route("POST", row + "/restore", self.restore, ""))
        return made

    # -- reading -----------------------------------------------------------------------------------

    def list(self, request: Request) -> Response:
        """One page of rows, with the inputs that choose them."""
        self._actions.allow("read")
        fields = [f for f in self._shown if f.column is not None and f.column.filterable]
        options = self._options(request, fields, request.query)
        context, status = self._listing.context(request, options)
        new = f"{request.root}{self._path}/new" if self._may("create") else ""
        title, undo = words(self._actions.resource.topic), self._undo(request)
        return self._live_page(request, "list", title, status, new=new, undo=undo, **context)

    def csv(self, request: Request) -> Response:
        """Every row that the list would show, as CSV."""
        self._actions.allow("read")
        return export(self._actions, self._listing.query(request))

    def show(self, request: Request) -> Response:
        """Everything about one row."""
        self._actions.allow("read")
        row = self._actions.get(self._key(request))
        place, key = request.root + self._path, self._actions.key_of(row)
        return self._live_page(
            request, "show", self._actions.label(row), row=row, list=place,
            edit=address(place, key, "edit") if self._may("update") else "",
            delete=address(place, key, "delete") if self._may("delete") else "",
            **self._detail.context(request, row),
        )  # fmt: skip

    def show_new(self, request: Request) -> Response:
        """The row whose key is "new", for which `address` has a place of its own."""
        request.params["id"] = "new"
        return self.show(request)

    def choices(self, request: Request) -> Response:
        """What a search for a relation's targets finds: `forms.js` asks for it."""
        name = first(request.query, "field")
        field = next((f for f in (*self._given, *self._shown) if f.name == name), None)
        if field is None or field.relation is None:
            raise NotFound(text("nothing is at this address"))
        found = search(self._target(field), first(request.query, "q"))
        body = choice_list(field.name, field.kind, found, ())
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")]
        return Response(200, body.encode(), headers)

    # -- writing -----------------------------------------------------------------------------------

    def new(self, request: Request) -> Response:
        """The form of a new row; values of the query are filled in."""
        self._actions.allow("create")
        fields = self._fields(new=True)
        given = {f.name: request.query[f.name] for f in fields if f.name in request.query}
        return self._form(request, Writing(None, fields, {**defaults(fields), **given}))

    def create(self, request: Request) -> Response:
        """Make the row, then show it."""
        self._actions.allow("create")
        fields, pairs = self._fields(new=True), sent_form(request)
        sent = posted(fields, pairs)
        writing = Writing(None, fields, {**defaults(fields), **sent})
        if pairs.get("_search"):  # only to find a relation's target
            return self._form(request, writing, pairs=pairs)
        try:
            return self._done(request, "created", self._actions.create(data_of(fields, sent)))
        except (Invalid, Conflict, ConstraintViolation) as err:
            names = [field.name for field in fields]
            return self._form(request, writing, errors_of(err, names), pairs, status=422)

    def edit(self, request: Request) -> Response:
        """The form of a row."""
        self._actions.allow("update")
        return self._form(request, self._writing(request))

    def update(self, request: Request) -> Response:
        """Write the fields that the client changed, merged with what others changed meanwhile."""
        self._actions.allow("update")
        pairs = sent_form(request)
        sealed, owner = first(pairs, _BASE), self._owner(request)
        base = unseal(sealed, owner, partial(sign_form, request))
        identity = current_identity()
        zone = base.zone if base else identity.time_zone
        with as_identity(replace(identity, time_zone=zone)):  # its times were written by this clock
            return self._update(request, pairs, base)

    def ask_delete(self, request: Request) -> Response:
        """Whether it should really be deleted."""
        self._actions.allow("delete")
        return self._confirm(request, self._actions.get(self._key(request)))

    def delete(self, request: Request) -> Response:
        """Delete the row, then show the list."""
        self._actions.allow("delete")
        key = self._key(request)
        row, pairs = self._actions.get(key), sent_form(request)
        if pairs.get("version") != [str(row.version)]:
            return self._confirm(request, row, text(_OVERTAKEN), status=409)
        try:
            self._actions.delete(key, version=row.version)
        except (Conflict, ConstraintViolation) as err:
            return self._confirm(request, row, text(err.message), status=409)
        soft = self._actions.resource.soft_delete
        return self._done(request, "deleted", undo=str(key) if soft else "")

    def restore(self, request: Request) -> Response:
        """Bring a deleted row back, then show it."""
        check_csrf(request)
        row = self._actions.restore(self._key(request))
        return self._done(request, "restored", row)

    # -- inside ------------------------------------------------------------------------------------

    def _update(self, request: Request, pairs: Texts, base: Base | None) -> Response:
        sent = self._sent(pairs, base)
        # Code of a project's own update runs once in a request.
        for _ in range(_TRIES if type(self._actions).update is Actions.update else 1):
            try:
                now = self._writing(request, base)
            except NotFound:
                if base is None:
                    raise
                fields = [f for f in rendered(base, self._fields(new=False)) if f.name in sent]
                writing = Writing(None, fields, sent, base)
                return self._form(request, writing, {"": [text(_DELETED)]}, pairs, status=404)
            assert now.base is not None
            # Without a base nothing is written that the client has not compared with the row.
            began = base or now.base._replace(undecided=[*now.base.fields])
            lost = lost_changes(began, now.fields, sent)
            decided = {f.name: first(pairs, f.name + CHOICE) for f in now.fields if base}
            merged = merge(began, now.fields, sent, now.texts, decided)
            # The base stays; a field that was not sent is left out, as its text would be another.
            fields = [field for field in now.fields if field.name in sent]
            writing = now._replace(fields=fields, texts=sent)
            if base is not None and not lost and pairs.get("_search"):
                return self._form(request, writing, pairs=pairs)
            if base is None or lost or merged.conflicts:
                fresh = new_base(now.fields, now.texts, began.zone, merged.conflicts)
                writing = now._replace(texts=merged.texts, base=fresh)
                wrong = self._conflict(merged.conflicts, lost, known=base is not None)
                return self._form(request, writing, wrong, pairs, status=409)
            changes = {name: merged.texts[name] for name in merged.changed}
            try:
                row = self._actions.update(
                    self._actions.key_of(now.row), data_of(now.fields, changes, now.texts),
                    version=now.row.version,
                )  # fmt: skip
            except StaleVersion:
                continue
            except (Invalid, Conflict, ConstraintViolation) as err:
                names = [field.name for field in now.fields]
                return self._form(request, writing, errors_of(err, names), pairs, status=422)
            return self._done(request, "updated", row)
        return self._form(request, writing, {"": [text(_BUSY)]}, pairs, status=409)

    def _conflict(
        self, conflicts: Sequence[str], lost: Sequence[str], *, known: bool
    ) -> Mapping[str, Sequence[str]]:
        """What to tell a client whose changes were not written. known: whether the base was."""
        wrong = {name: [text(_DIFFERS)] for name in conflicts}
        labels = {field.name: field.label for field in self._given}
        general = [f"{labels.get(name) or words(name)}: {text(_LOST)}" for name in lost]
        if conflicts or not known:
            general.insert(0, text(_CONFLICT if known else _UNKNOWN))
        return {"": general, **wrong}

    def _sent(self, pairs: Texts, base: Base | None) -> Texts:
        """The texts that were sent, also of fields that the schema no longer has."""
        dropped = (base.fields if base else {}).keys() - {field.name for field in self._given}
        return posted([*self._given, *(Field(name, "") for name in dropped)], pairs)

    def _writing(self, request: Request, base: Base | None = None) -> Writing:
        """The form of the row as it is; with a base, of the fields that it rendered."""
        row, fields = self._actions.get(self._key(request)), self._fields(new=False)
        texts = {field.name: texts_of(field, self._value(row, field)) for field in fields}
        if base is not None:
            return Writing(row, rendered(base, fields), texts, base, texts)
        # More check boxes than a read gives targets are no form; they stay as they are.
        fields = [f for f in fields if f.kind != "many" or len(texts[f.name]) < MOST_RELATED]
        fresh = new_base(fields, texts, current_identity().time_zone)
        return Writing(row, fields, texts, fresh, texts)

    def _owner(self, request: Request) -> Sequence[str]:
        """The form, and the client that may send it."""
        resource, identity = self._actions.resource, current_identity()
        key = str(self._key(request))
        return [resource.topic, key, identity.user, str(identity.tenant or "")]

    def _value(self, row: Any, field: Field) -> object:
        if field.column is not None:
            return field.value(row)
        assert field.relation is not None
        return self._actions.linked(self._actions.key_of(row), field.relation)

    def _fields(self, *, new: bool) -> Sequence[Field]:
        readable = {relation.name for relation in self._actions.lists_of_keys()}
        return [
            f for f in self._given
            if f.is_given() and (new or not f.immutable)
            and (f.kind != "many" or f.relation is not None and f.relation.name in readable)
        ]  # fmt: skip

    def _form(
        self, request: Request, writing: Writing, wrong: Mapping[str, Sequence[str]] | None = None,
        pairs: Texts | None = None, status: int = 200,
    ) -> Response:  # fmt: skip
        wrong, row = wrong or {}, writing.row
        options = self._options(request, writing.fields, {**(pairs or {}), **writing.texts})
        asked = [self._asked(f, writing, options, wrong, pairs or {}) for f in writing.fields]
        labels = {field.name: field.label for field in writing.fields}
        place = request.root + self._path
        hidden = [csrf_field(request)]
        if writing.base is None:
            what = words(self._actions.resource.event)
            action, title = f"{place}/new", text("New: {what}", what=what)
        else:
            key = self._key(request)
            title = text("Edit: {what}", what=key if row is None else self._actions.label(row))
            action = address(place, key, "edit")
            place = place if row is None else address(place, key)
            base = seal(writing.base, self._owner(request), partial(sign_form, request))
            hidden.append(void("input", type="hidden", name=_BASE, value=base))
        return self._frame.page(
            request, self._templates["form"], title, status=status, action=action, cancel=place,
            hidden=join(hidden), fields=asked, row=row,
            problems=[
                Item(name=name, label=labels.get(name, ""), message=message)
                for name, messages in wrong.items() for message in messages
            ],
        )  # fmt: skip

    def _asked(
        self, field: Field, writing: Writing, options: Mapping[str, Options],
        wrong: Mapping[str, Sequence[str]], pairs: Texts,
    ) -> Item:  # fmt: skip
        chosen, errors = options.get(field.name), wrong.get(field.name, ())
        texts = writing.texts.get(field.name, ())
        made = join([
            present(field, chosen), control(field, texts, options=chosen, wrong=bool(errors)),
            self._choice(field, writing, pairs),
        ])  # fmt: skip
        shown = {name: getattr(field, name) for name in _SHOWN}
        return Item(**shown, group=is_group(field, chosen), input=made, errors=errors)

    def _choice(self, field: Field, writing: Writing, pairs: Texts) -> Raw:
        """The choice between two values, for a field that both sides changed."""
        if writing.base is None or field.name not in writing.base.undecided:
            return Raw()
        theirs, targets = writing.now.get(field.name, ()), []
        if field.relation is not None:
            with suppress(DomainError):
                targets = named(self._target(field), theirs)
        decided = first(pairs, field.name + CHOICE)
        return conflict_choice(field, spoken_value(field, theirs, targets), decided)

    def _options(
        self, request: Request, fields: Sequence[Field], pairs: Texts
    ) -> dict[str, Options]:
        """What each relation's field may be, where its targets may be read. Of a "many" else what
        is there now: an input of text would hold one key.
        """
        found = {}
        for field in fields:
            if field.relation is not None:
                if field.kind == "many":
                    found[field.name] = Options(())
                with suppress(DomainError):
                    found[field.name] = self._option(request, field, pairs)
        return found

    def _option(self, request: Request, field: Field, pairs: Texts) -> Options:
        target = self._target(field)
        if (every := few(target)) is not None:
            return Options(every)
        sought = first(pairs, field.name + SEARCH)
        fetch = f"{request.root}{self._path}/new/choices?{urlencode({'field': field.name})}"
        chosen = named(target, pairs.get(field.name, ()))
        return Options(None, search(target, sought), chosen, sought, fetch)

    def _target(self, field: Field) -> Actions[Any, Any, Any]:
        assert field.relation is not None
        target: Actions[Any, Any, Any] = self._actions.registry.actions[field.relation.target]
        return target

    def _confirm(
        self, request: Request, row: Any, problem: str = "", status: int = 200
    ) -> Response:
        label = self._actions.label(row)
        place, key = request.root + self._path, self._actions.key_of(row)
        version = void("input", type="hidden", name="version", value=row.version)
        title = text("Delete: {what}", what=label)
        question = text("It is taken out of all lists, and can be brought back.")
        if not self._actions.resource.soft_delete:
            question = text("This cannot be undone.")
        return self._frame.page(
            request, self._templates["delete"], title, status=status, question=question,
            problem=problem, action=address(place, key, "delete"), cancel=address(place, key),
            hidden=join([csrf_field(request), version]), row=row,
        )  # fmt: skip

    def _done(self, request: Request, what: str, row: Any = None, *, undo: str = "") -> Response:
        place = request.root + self._path
        if row is not None and self._may("read"):
            place = address(place, self._actions.key_of(row))
        more = {"_done": what, "_undo": undo} if undo else {"_done": what}
        return redirect(f"{place}?{urlencode(more)}")

    def _undo(self, request: Request) -> Raw:
        key = first(request.query, "_undo")
        if not key or not self._actions.resource.soft_delete or not self._may("restore"):
            return Raw()
        action = address(request.root + self._path, key, "restore")
        button = tag("button", WORDS.undo, type="submit", class_="quiet")
        return tag("form", join([csrf_field(request), button]), method="post", action=action)

    def _live_page(
        self, request: Request, name: str, title: str, status: int = 200, **context: Any
    ) -> Response:
        """A page that loads itself again when a row changes, with a notice of what was done."""
        event, topic = self._actions.resource.event, self._actions.resource.topic
        context["live"] = f"{request.root}/events?topic={topic}"
        context["events"] = " ".join(f"{event}.{done}" for done in _NOTICES)
        context["notice"] = text(_NOTICES.get(first(request.query, "_done"), ""))
        return self._frame.page(request, self._templates[name], title, status=status, **context)

    def _may(self, operation: str) -> bool:
        with suppress(DomainError):
            return bool(self._actions.allow(operation))
        return False

    def _key(self, request: Request) -> Any:
        return self._actions.read_key(request.params["id"])
