"""Forms: the texts of the inputs, the data for an action, and the merge of an edit form.

Another user may have changed the row since the form was rendered. So the form contains its base:
the fields that it rendered, the texts that they showed, and the time zone of its times. A field
that differs from the base was changed by the client; a row that differs from the base was changed
by another user. A signature binds the base to its form and user.

A field with unchanged text is left out of a change. So opening and saving a form does not change a
value that no input can hold exactly, such as microseconds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from ..actions import TYPES, KeyChanges, shown_text, to_text
from ..errors import Conflict, ConstraintViolation, DomainError, Invalid
from ..i18n import text
from ..lazy import lazy_pattern
from ..wsgi import Request, local_time, show_time, sign_form
from .fields import Fields, FormField, Texts

WRITE_ERRORS = (Conflict, ConstraintViolation, Invalid)
"""Errors that the page of a form shows, because the user can correct them."""

_LINE_END = lazy_pattern("\r\n?")


def texts_of(field: FormField, value: Any) -> list[str]:
    """Return the texts of one value; none for an unchecked box."""
    if value is None or value == "" or (field.is_box and not value):
        return []
    if field.kind in ("many", "enum[]"):
        return [to_text(key) for key in value]
    if field.kind == "json":
        return [json.dumps(value, ensure_ascii=False, indent=2)]
    if isinstance(value, datetime):
        return [local_text(value)]
    return [_LINE_END.sub("\n", shown_text(value))]  # as browsers send it back


def local_text(moment: datetime) -> str:
    """Return a time as an input datetime-local shows it; seconds are left out if they are 0."""
    return show_time(moment, "%Y-%m-%dT%H:%M:%S").removesuffix(":00")


def defaults(fields: Fields) -> dict[str, list[str]]:
    """Return the texts of an empty form."""
    result = {}
    for field in fields:
        value = field.rules.get("default")
        if isinstance(value, str) and field.kind in ("datetime", "time", "duration"):
            with suppress(ValueError):
                value = TYPES[field.kind].read(value)
        result[field.name] = texts_of(field, value)
    return result


def posted(fields: Fields, pairs: Texts) -> dict[str, list[str]]:
    """Return the texts of the fields that were sent, with LF line ends."""
    result = {}
    for field in fields:
        if field.name in pairs:
            texts = [_LINE_END.sub("\n", value) for value in pairs[field.name]]
            if field.kind in ("string", "text", "string[]"):
                result[field.name] = [value for value in texts if value]
            else:
                result[field.name] = [value for value in texts if value.strip()]
    return result


def data_of(fields: Fields, texts: Texts, seen: Texts | None = None) -> dict[str, object]:
    """Return the data for an action, of the fields in `texts`.

    seen: the texts of the row that the client changed; None for a new row.
    """
    data: dict[str, object] = {}
    for field in fields:
        entered = texts.get(field.name)
        if entered is None:
            continue
        name = field.name
        if field.kind == "many" and seen is not None:
            data[name] = KeyChanges(list(entered), seen[name])
        elif field.kind in ("many", "enum[]"):
            data[name] = list(entered)
        elif field.kind.endswith("[]"):
            data[name] = _value(field, "".join(entered))
        elif entered:
            data[name] = _value(field, entered[0])
        elif field.is_box:
            data[name] = False
        elif seen is not None or not field.required:
            data[name] = None
    return data


def errors_of(error: DomainError, fields: Fields) -> dict[str, list[str]]:
    """Return the messages of an error by field; "" if it is not of `fields`."""
    result: dict[str, list[str]] = {}
    names = {field.name for field in fields}
    for field_error in getattr(error, "errors", ()):  # a ConstraintViolation has none
        pointer, _, _ = field_error.pointer[1:].partition("/")
        name = pointer.replace("~1", "/").replace("~0", "~")
        message = field_error.message
        if name not in names:
            message = f"{name}: {message}"
            name = ""
        elif field_error.code == "required":
            message = text("is required")
        result.setdefault(name, []).append(message)
    return result or {"": [text(error.message)]}


def _value(field: FormField, entered: str) -> object:
    """Return the value for an action. Unreadable text stays text, which the action rejects."""
    if field.kind == "datetime":
        return moment_of(entered) or entered
    if field.relation is not None:
        return entered
    return TYPES[field.kind].from_text(entered)


def moment_of(entered: str) -> datetime | None:
    """Return the time of an input datetime-local in the user's time zone; None if invalid."""
    with suppress(ValueError, OverflowError):
        return local_time(datetime.fromisoformat(entered.strip()))
    return None


# The values of a choice.
THEIRS = "theirs"
MINE = "mine"
_MAC = 32  # bytes of HMAC-SHA256


class FormBase(NamedTuple):
    """The state of a form when it was rendered.

    zone: IANA name of the time zone of its times.
    fields: field → digest of its text, or the keys of a "many".
    undecided: the fields for which the form asks for a choice between two values.
    """

    zone: str
    fields: Mapping[str, str | list[str]]
    undecided: Sequence[str] = ()


class Notice(NamedTuple):
    """The notice of a change on the next page, which its URL contains.

    change: "created", "updated", "deleted" or "restored".
    undo: key of the row that can be restored.
    """

    change: str = ""
    undo: str = ""


class Merge(NamedTuple):
    """The result of a merge.

    texts: field → its texts with the client's changes.
    changed: the fields to write.
    conflicts: the fields that both sides changed and that still need a choice.
    """

    texts: dict[str, list[str]]
    changed: list[str]
    conflicts: list[str]


def new_base(fields: Fields, texts: Texts, zone: str, undecided: Collection[str] = ()) -> FormBase:
    """Return the base of a form that shows `texts`."""
    values = {}
    for field in fields:
        values[field.name] = _base_value(field.kind == "many", texts[field.name])
    return FormBase(zone, values, [name for name in values if name in undecided])


def merge(
    base: FormBase, fields: Fields, sent: Texts, now: Texts, choices: Mapping[str, str]
) -> Merge:
    """Return the row `now` with the client's changes.

    fields: those that the base rendered and that the client may write.
    sent: the texts of the inputs that were sent; an input that was not sent is not a change.
    now: the texts of the row.
    choices: undecided field → THEIRS or MINE.
    """
    merged = Merge({}, [], [])
    for field in fields:
        name = field.name
        many = field.kind == "many"
        theirs = list(now[name])
        merged.texts[name] = theirs
        choice: str | None = MINE
        if name in base.undecided:
            choice = choices.get(name)
        if name not in sent or choice == THEIRS:
            continue
        mine = list(sent[name])
        before = base.fields[name]
        after = _base_value(many, theirs)
        entered = _base_value(many, mine)
        if entered == after or (entered == before and choice == MINE):
            continue
        merged.texts[name] = mine
        if choice != MINE or (before != after and not many):
            merged.conflicts.append(name)
            continue
        merged.changed.append(name)
        if many:
            merged.texts[name] = _merged_keys(before, mine, theirs)
    return merged


def rendered(base: FormBase, fields: Fields) -> list[FormField]:
    """Return those of `fields` that the base rendered with values of the same shape."""
    result = []
    for field in fields:
        if field.name in base.fields:
            was_many = isinstance(base.fields[field.name], list)
            if was_many == (field.kind == "many"):
                result.append(field)
    return result


def lost_changes(base: FormBase, fields: Fields, sent: Texts) -> list[str]:
    """Return the names of rendered fields that the client changed and that `fields` lacks."""
    present = {field.name for field in rendered(base, fields)}
    names = []
    for name, before in base.fields.items():
        if name not in sent or name in present:
            continue
        if _base_value(isinstance(before, list), sent[name]) != before:
            names.append(name)
    return names


def seal(request: Request, content: FormBase | Notice, owner: Sequence[str]) -> str:
    """Return the content as signed text, which a URL may contain.

    owner: identifies the user that may send it, and the form if it is the base of one.
    """
    data = zlib.compress(json.dumps([owner, content]).encode())
    return base64.urlsafe_b64encode(sign_form(request, data) + data).decode()


def unseal(request: Request, sealed: str, owner: Sequence[str], kind: Any) -> Any:
    """Return the content that `seal` signed for this owner; None for any other text.

    kind: the class of the content.
    """
    with suppress(ValueError, TypeError):  # altered, or of a release with another format
        raw = base64.b64decode(sealed.encode("ascii"), b"-_", validate=True)
        signature = raw[:_MAC]
        data = raw[_MAC:]
        if hmac.compare_digest(signature, sign_form(request, data)):
            sealed_owner, content = json.loads(zlib.decompress(data))
            if sealed_owner == list(owner):
                return kind(*content)
    return None


def _base_value(many: bool, texts: Sequence[str]) -> str | list[str]:
    """Return the value of a field for a base: the sorted keys of a "many", else a digest."""
    # Several texts are check boxes, which browsers send in the order of the page, each once.
    values = sorted(set(texts))
    if many:
        return values
    data = "\0".join(values).encode(errors="surrogatepass")
    digest = hashlib.sha256(data).digest()
    return base64.b64encode(digest[:18]).decode()


def _merged_keys(before: Iterable[str], mine: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Return the row's keys with those that the client added, without those that it removed."""
    removed = set(before).difference(mine)
    added = set(mine).difference(before, theirs)
    keys = [key for key in theirs if key not in removed]
    return keys + [key for key in mine if key in added]
