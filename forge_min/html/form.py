"""Forms: the texts of their inputs, the data for an action, and the merge of an edit form.

Another user may have changed the row since the form was rendered. So the form carries its base:
which fields it rendered, the texts that they showed, and the time zone of its times. A field
differs from the base if the client changed it, and the row differs from the base if another user
did. A signature keeps a base from being used elsewhere.

A field whose text is unchanged is left out of a change, so a value that no input can hold exactly,
such as microseconds, is not changed by looking at it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from ..actions import TYPES, KeyChanges, to_text
from ..errors import Conflict, ConstraintViolation, Invalid
from ..i18n import text
from ..lazy import lazy_pattern
from ..wsgi import local_time, show_time
from .fields import Field

Texts = Mapping[str, Sequence[str]]
"""What stands in the inputs, by field; several texts for a "many"."""

_LINE_END = lazy_pattern("\r\n?")
LOCAL = "%Y-%m-%dT%H:%M:%S"  # of an input datetime-local, by the reader's clock


def texts_of(field: Field, value: Any) -> list[str]:
    """The texts of one value; a check box that is off has none."""
    if value is None or value == "" or (field.is_box and not value):
        return []
    if field.kind == "many":
        return [to_text(key) for key in value]
    if field.kind == "json":
        return [json.dumps(value, ensure_ascii=False, indent=2)]
    if isinstance(value, datetime):
        return [local_text(value)]
    return [_LINE_END.sub("\n", to_text(value))]  # as a browser sends it back


def local_text(moment: datetime) -> str:
    """A moment as an input datetime-local has it: seconds only where there are some."""
    shown = show_time(moment, LOCAL)
    return shown.removesuffix(":00") if local_time(moment).second == 0 else shown


def defaults(fields: Iterable[Field]) -> dict[str, list[str]]:
    """The texts of an empty form."""
    found = {}
    for field in fields:
        value = field.rules.get("default")
        if isinstance(value, str) and field.kind == "datetime":
            with suppress(ValueError):
                value = TYPES["datetime"].read(value)
        found[field.name] = texts_of(field, value)
    return found


def posted(fields: Iterable[Field], pairs: Texts) -> dict[str, list[str]]:
    """The texts of the inputs that were sent, with the line ends of PostgreSQL's users."""
    found = {}
    for field in fields:
        if field.name in pairs:
            sent = [_LINE_END.sub("\n", one) for one in pairs[field.name]]
            lines = field.kind in ("string", "text")
            found[field.name] = [one for one in sent if (one if lines else one.strip())]
    return found


def data_of(fields: Iterable[Field], texts: Texts, seen: Texts | None = None) -> dict[str, object]:
    """The data for an action, of the fields in `texts`. seen: the texts of the row that a change
    was made from; None for a new row.
    """
    data: dict[str, object] = {}
    for field in fields:
        given = texts.get(field.name)
        if given is None:
            continue
        if field.kind == "many":
            keys = list(given)
            data[field.name] = keys if seen is None else KeyChanges(keys, seen[field.name])
        elif given:
            data[field.name] = _value(field, given[0])
        elif field.is_box:
            data[field.name] = False
        elif seen is not None or not field.required:
            data[field.name] = None
    return data


def errors_of(
    error: Invalid | Conflict | ConstraintViolation, names: Iterable[str]
) -> dict[str, list[str]]:
    """Sentences by the field that they are about; "" for what is about none of `names`."""
    found: dict[str, list[str]] = {}
    for one in () if isinstance(error, ConstraintViolation) else error.errors:
        name = one.pointer[1:].partition("/")[0].replace("~1", "/").replace("~0", "~")
        known = name in names
        message = text("is required") if one.code == "required" else one.message
        message = message if known else f"{name}: {one.message}"
        found.setdefault(name if known else "", []).append(message)
    return found or {"": [text(error.message)]}


def _value(field: Field, written: str) -> object:
    """What an action reads; what it cannot read stays a text, of which it says what is wrong."""
    if field.kind == "datetime":
        return moment_of(written) or written
    if field.relation is not None:
        return written
    kind = TYPES.get(field.kind)
    return written if kind is None else kind.from_text(written)


def moment_of(written: str) -> datetime | None:
    """The moment that an input datetime-local means by the reader's clock; None for none."""
    with suppress(ValueError, OverflowError):
        return local_time(datetime.fromisoformat(written.strip()))
    return None


THEIRS, MINE = "theirs", "mine"  # the values of a choice
_MAC = 32  # bytes of HMAC-SHA256

Sign = Callable[[bytes], bytes]


class Base(NamedTuple):
    """What a form showed when it was rendered.

    zone: IANA name of the time zone of its times.
    fields: field → digest of its text, or the keys of a "many".
    undecided: the fields for which the form asks for a choice between two values.
    """

    zone: str
    fields: Mapping[str, str | list[str]]
    undecided: Sequence[str] = ()


class Merged(NamedTuple):
    """The result of a merge.

    texts: field → its texts with the client's changes.
    changed: the fields to write.
    conflicts: the fields that both sides changed and that still need a choice.
    """

    texts: dict[str, list[str]]
    changed: list[str]
    conflicts: list[str]


def new_base(
    fields: Iterable[Field], texts: Texts, zone: str, undecided: Collection[str] = ()
) -> Base:
    """The base of a form that shows `texts`."""
    shown = {field.name: _shown(field.kind == "many", texts[field.name]) for field in fields}
    return Base(zone, shown, [name for name in shown if name in undecided])


def merge(
    base: Base, fields: Iterable[Field], sent: Texts, now: Texts, choices: Mapping[str, str]
) -> Merged:
    """The row `now` with the client's changes.

    fields: those that the base rendered and that the client may write.
    sent: the texts of the inputs that were sent; an input that was not sent is not a change.
    now: the texts of the row.
    choices: undecided field → THEIRS or MINE.
    """
    merged = Merged({}, [], [])
    for field in fields:
        name, many, theirs = field.name, field.kind == "many", list(now[field.name])
        merged.texts[name] = theirs
        choice = choices.get(name) if name in base.undecided else MINE
        if name not in sent or choice == THEIRS:
            continue
        mine, before, after = list(sent[name]), base.fields[name], _shown(many, theirs)
        if _shown(many, mine) in ([after, before] if choice == MINE else [after]):
            continue
        merged.texts[name] = mine
        if choice != MINE or (before != after and not many):
            merged.conflicts.append(name)
            continue
        merged.changed.append(name)
        if many:
            merged.texts[name] = _merged_keys(before, mine, theirs)
    return merged


def rendered(base: Base, fields: Iterable[Field]) -> list[Field]:
    """Those of `fields` that the base rendered, as values of the same shape."""
    return [
        field
        for field in fields
        if field.name in base.fields
        and isinstance(base.fields[field.name], list) == (field.kind == "many")
    ]


def lost_changes(base: Base, fields: Iterable[Field], sent: Texts) -> list[str]:
    """The rendered fields that the client changed and that are not among `fields`."""
    known = {field.name for field in rendered(base, fields)}
    return [
        name
        for name, shown in base.fields.items()
        if name not in known and name in sent
        if _shown(isinstance(shown, list), sent[name]) != shown
    ]


def seal(base: Base, owner: Sequence[str], sign: Sign) -> str:
    """The base as text that only this application makes. owner: the form, and who may send it."""
    data = zlib.compress(json.dumps([owner, base]).encode())
    return base64.urlsafe_b64encode(sign(data) + data).decode()


def unseal(sealed: str, owner: Sequence[str], sign: Sign) -> Base | None:
    """The base that `seal` wrote for this owner; None for anything else."""
    with suppress(ValueError, TypeError):  # not ours, or of a release with another format
        raw = base64.b64decode(sealed.encode("ascii"), b"-_", validate=True)
        if hmac.compare_digest(raw[:_MAC], sign(raw[_MAC:])):
            owned, base = json.loads(zlib.decompress(raw[_MAC:]))
            return Base(*base) if owned == list(owner) else None
    return None


def _shown(many: bool, texts: Sequence[str]) -> str | list[str]:
    """What a base keeps of a field's texts; the keys of a "many" have no order."""
    if many:
        return sorted(set(texts))
    data = "\0".join(texts).encode(errors="surrogatepass")
    return base64.b64encode(hashlib.sha256(data).digest()[:18]).decode()


def _merged_keys(shown: Iterable[str], mine: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """The keys of the row, with those that the client added and without those it removed."""
    removed = set(shown).difference(mine)
    added = set(mine).difference(shown, theirs)
    return [key for key in theirs if key not in removed] + [k for k in mine if k in added]
