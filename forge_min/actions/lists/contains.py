"""The filter `contains` on large tables, which needs a trigram index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...errors import BadRequest, FieldError
from ...i18n import text
from ...lazy import lazy_pattern
from ..base import Rows
from ..check import pointer
from ..order import Params
from ..query import LISTS, Filter, ListQuery, count
from ..resource import AnyResource

MAX_SCANNED = 100_000  # rows that `contains` may read one by one
# Three characters in a row without spaces and ASCII punctuation: at least one trigram, of letters
# and digits (PostgreSQL manual, F.35.4).
_WORD = lazy_pattern(r"[^\x00-/:-@\[-`{-\x7f]{3,}")
Run = Callable[[str, Params], Rows]


def check_contains(resource: AnyResource, query: ListQuery, run: Run) -> None:
    """Raise BadRequest F650 for a `contains` without an index that would read too many rows.

    These are the rows that the other conditions leave.

    run: executes a statement with its parameters as the tenant of the list.
    """
    slow = [f for f in query.filters if f.operator == "contains" and _is_slow(f, run)]
    if slow:
        fast = tuple(f for f in query.filters if f not in slow)
        if _has_many_rows(resource, replace(query, filters=fast), run):
            raise _too_many_rows(slow[0])


def _is_slow(f: Filter, run: Run) -> bool:
    """Whether a `contains` reads all rows of this list, or of a large related table."""
    if f.column.type.endswith("[]"):
        return False
    if f.column.has_trigrams and _has_trigram(f.value, run):
        return False
    if f.related is None:
        return True
    _, target = f.related
    return _has_many_rows(target, ListQuery(), run)


def _has_trigram(value: str, run: Run) -> bool:
    """Whether a trigram index finds this value."""
    if value.isascii():
        return _WORD.search(value) is not None
    ((letters,),) = run(LISTS["letters"].template, {"forge_value": value})
    return "xxx" in letters


def _has_many_rows(resource: AnyResource, query: ListQuery, run: Run) -> bool:
    ((rows,),) = run(*count(resource, query, MAX_SCANNED + 1))
    return bool(rows > MAX_SCANNED)


def _too_many_rows(f: Filter) -> BadRequest:
    name = f.column.name
    if f.related:
        relation, _ = f.related
        name = f"{relation.name}.{name}"
    if f.column.has_trigrams:
        message = text(
            "{name}: contains needs three letters or digits in a row here; write more, or add"
            " conditions",
            name=name,
        )
    else:
        message = text(
            "{name}: contains would search more than {max} rows; add conditions, or set"
            ' searchable="substring" in the schema',
            name=name,
            max=MAX_SCANNED,
        )
    error = BadRequest(message, code="F650")
    error.errors = (FieldError(pointer(f"{name}[contains]"), "too_slow", message),)
    return error
