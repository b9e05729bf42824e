"""The SQL of a list: one statement, one round trip, whatever was asked.

Values are parameters always. Sorting is total (the key is the last one) and a position continues it
exactly, NULLs included: ascending puts them last, descending first, as PostgreSQL does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from ..base import scope
from ..resource import Column, Resource, Sort, quote
from ..values import read_text, to_text
from . import cursor
from .query import OPERATORS, TEXTUAL, Filter, ListQuery

Params = dict[str, Any]

# How well a row fits the words: the first sort key of a search that asks for no other.
RANK = Column("forge_rank", "rank", nullable=False)
_WORDS = "websearch_to_tsquery('simple', %(forge_q)s)"
_RANKED = f'ts_rank("forge_search", {_WORDS})'


@dataclass(frozen=True, slots=True)
class Position:
    """Between two rows of a list: after the one with these keys, or before it (backwards)."""

    keys: tuple[Any, ...]
    backwards: bool = False


def order_of(resource: Resource[Any], query: ListQuery) -> tuple[Sort, ...]:
    """The sort keys made total by the primary key.

    What nobody sorted: the best match first, else the newest.
    """
    sorts = query.sorts or ((Sort(RANK, descending=True),) if query.q else ())
    if any(s.column is resource.key for s in sorts):
        return sorts
    return (*sorts, Sort(resource.key, sorts[-1].descending if sorts else True))


def statement(
    resource: Resource[Any], query: ListQuery, at: Position | None = None
) -> tuple[str, Params]:
    """The SQL and its parameters, without forge_tenant.

    Out: the resource's columns, the rank when that is a sort key, the total when there are pages.
    One row more than the limit tells whether there is another page.
    """
    params: Params = {"forge_limit": query.limit + 1}
    where = scope(resource, "")
    where += [_condition(f, f"f{n}", params) for n, f in enumerate(query.filters)]
    if query.q:
        where.append(f'"forge_search" @@ {_WORDS}')
        params["forge_q"] = query.q
    order = order_of(resource, query)
    backwards = at is not None and at.backwards
    tail = "\norder by " + ", ".join(
        _name(s) + (" desc" if s.descending != backwards else "") for s in order
    )
    tail += "\nlimit %(forge_limit)s"
    more = f", {_RANKED}" if order[0].column is RANK else ""
    if query.page:
        source = quote(resource.source or resource.table)
        more += f", (select count(*) from {source}{_where(where)})"
    select = resource.select.replace("\nfrom ", more + "\nfrom ", 1) if more else resource.select
    if query.page and query.page > 1:
        params["forge_offset"] = (query.page - 1) * query.limit
        tail += " offset %(forge_offset)s"
    if at is None:
        return select + _where(where) + tail, params
    ranges = [_where([*where, *r]) for r in _beyond(order, at, params)]
    if len(ranges) == 1:
        return select + ranges[0] + tail, params
    # PERF: each of these is a range of the index; joined by OR they would be a filter over it.
    parts = "\nunion all\n".join(f"({select}{each}{tail})" for each in ranges)
    return f"select * from (\n{parts}\n) forge_rows{tail}", params


def _name(sort: Sort) -> str:
    return _RANKED if sort.column is RANK else quote(sort.column.name)


def _where(conditions: Sequence[str]) -> str:
    return "\nwhere " + " and ".join(conditions) if conditions else ""


def _condition(f: Filter, param: str, params: Params) -> str:
    name = quote(f.column.name)
    if f.operator == "is_null":
        return f"{name} is {'' if f.value else 'not '}null"
    params[param] = f.value
    if f.operator == "in":
        return f"{name} = any(%({param})s)"
    if f.operator == "contains":
        escaped = f.value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        params[param] = f"%{escaped}%"
        return f"{name} ilike %({param})s"
    return f"{name} {OPERATORS[f.operator]} %({param})s"


# -- where a page goes on --------------------------------------------------------------------------


def _beyond(order: Sequence[Sort], at: Position, params: Params) -> list[list[str]]:
    """The rows strictly after the position, as ranges that do not overlap: conditions of each."""
    for n, value in enumerate(at.keys):
        params[f"k{n}"] = value
    directions = {s.descending for s in order}
    if len(directions) == 1 and not any(s.column.nullable for s in order):
        # PERF: a row comparison is one range on the index.
        columns = ", ".join(_name(s) for s in order)
        operator = "<" if order[0].descending != at.backwards else ">"
        marks = ", ".join(_mark(s, n) for n, s in enumerate(order))
        return [[f"({columns}) {operator} ({marks})"]]
    ranges: list[list[str]] = []
    level: list[str] = []  # every key before the n-th is the same
    for n, (sort, value) in enumerate(zip(order, at.keys, strict=True)):
        ahead = _ahead(sort, value, _mark(sort, n), sort.descending != at.backwards)
        ranges += [[*level, condition] for condition in ahead]
        name = _name(sort)
        level.append(f"{name} is null" if value is None else f"{name} = {_mark(sort, n)}")
    return ranges


def _ahead(sort: Sort, value: Any, mark: str, descending: bool) -> list[str]:
    """Conditions for "this key lies further on"."""
    name = _name(sort)
    if value is None:
        return [f"{name} is not null"] if descending else []
    last = [f"{name} is null"] if sort.column.nullable and not descending else []
    return [f"{name} {'<' if descending else '>'} {mark}", *last]


def _mark(sort: Sort, n: int) -> str:
    return f"%(k{n})s::real" if sort.column is RANK else f"%(k{n})s"


# -- positions as tokens ---------------------------------------------------------------------------


def places(resource: Resource[Any], order: Sequence[Sort]) -> tuple[int, ...]:
    """Where the keys of a row are in what `statement` gives."""
    found = {c.name: n for n, c in enumerate((*resource.columns, RANK))}
    return tuple(found[s.column.name] for s in order)


def cursor_scope(topic: str, tenant: UUID | None, order: Sequence[Sort], q: str) -> str:
    """What a cursor is good for: a tenant's list in one order; the filters may change."""
    words = q if order[0].column is RANK else ""
    spelled = ",".join(("-" if s.descending else "") + s.column.name for s in order)
    return f"{topic} {tenant} {spelled} {words}"


def write_position(secret: bytes, used_for: str, keys: Sequence[Any], backwards: bool) -> str:
    """The cursor of a position. used_for: as `cursor_scope` says."""
    texts = [None if key is None else _key_text(key) for key in keys]
    return cursor.write(secret, used_for, texts, backwards)


def read_position(secret: bytes, used_for: str, order: Sequence[Sort], token: str) -> Position:
    """The position of a cursor. Raises BadRequest when it is none of this list."""
    texts, backwards = cursor.read(secret, used_for, token)
    try:
        pairs = zip(order, texts, strict=True)
        return Position(tuple(_key(s.column, text) for s, text in pairs), backwards)
    except ValueError:  # signed by a release in which the column had another type
        raise cursor.refused() from None


def _key(column: Column, text: str | None) -> Any:
    if text is None or column is RANK or column.type in TEXTUAL:
        return text
    return read_text(column.type, text)


def _key_text(key: Any) -> str:
    if isinstance(key, Decimal):
        return format(key, "f")  # str() gives an exponent to a small one
    return to_text(key)
