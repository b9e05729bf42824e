"""Merge an edit form with a row that other users may have changed since the form was rendered.

The form carries its base: which fields it rendered, what they showed, and the time zone of its
times. A field differs from the base if the client changed it, and the row differs from the base if
another user did. Pure functions; a signature keeps a base from being used elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from .fields import Field
from .form import Texts

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


def changed_others(base: Base, fields: Iterable[Field], sent: Texts) -> list[str]:
    """The rendered fields that the client changed and that are not among `fields`."""
    known = {field.name for field in rendered(base, fields)}
    return [
        name
        for name, shown in base.fields.items()
        if name not in known and name in sent
        and _shown(isinstance(shown, list), sent[name]) != shown
    ]  # fmt: skip


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
