"""A list query: what a client may ask of a list, checked, and the SQL that answers it in one round
trip.

Values are parameters always; names come from the resource's own columns. Sorting is total (the id
is the last key) and keyset cursors continue it exactly, NULLs included: ascending puts them last,
descending first, as PostgreSQL does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import BadRequest
from ..resource import Column, Resource, Sort, quote
from ..values import read_text
from . import cursor

DEFAULT_LIMIT = 25
MAX_LIMIT = 100
MAX_PAGE = 100_000
_KEY = re.compile(r"([a-z][a-z0-9_]*)(?:\[([a-z_]+)\])?")
_OPERATORS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_OTHER = ("in", "contains", "is_null")
_CONTROL = frozenset({"limit", "cursor", "sort", "page", "per_page"})


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition. value: a Python value; a list for "in", a bool for "is_null"."""

    column: Column
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What to list. after: the keys of the row to go on from; backwards: towards the rows before
    it.

    page: from 1, then the answer has a total; None for cursors.
    """

    filters: tuple[Filter, ...] = ()
    sorts: tuple[Sort, ...] = ()
    limit: int = DEFAULT_LIMIT
    after: tuple[Any, ...] | None = None
    backwards: bool = False
    page: int | None = None

    @classmethod
    def parse(cls, resource: Resource[Any], query: Mapping[str, Sequence[str]]) -> ListQuery:
        """From a decoded query string, name → values.

        Raises BadRequest naming the parameter and what would be allowed.
        """
        sorts = _sorts(resource, _one(query, "sort"))
        filters = tuple(
            _filter(resource, key, value)
            for key, values in query.items()
            if key not in _CONTROL
            for value in values
        )
        after, backwards = None, False
        token = _one(query, "cursor")
        if token is not None:
            after, backwards = cursor.read(token, total_order(resource, sorts))
        page = _number(query, "page", MAX_PAGE)
        if page is not None and token is not None:
            raise BadRequest("page and cursor exclude each other")
        wrong, size = ("limit", "per_page") if page else ("per_page", "limit")
        if wrong in query:
            raise BadRequest(f"{wrong} does not go with this; use {size}")
        limit = _number(query, size, MAX_LIMIT) or DEFAULT_LIMIT
        return cls(filters, sorts, limit, after, backwards, page)

    def statement(self, resource: Resource[Any]) -> tuple[str, dict[str, Any]]:
        """The SQL and its parameters. One row more than the limit tells whether there is another
        page.
        """
        params: dict[str, Any] = {}
        where = [_condition(f, f"f{n}", params) for n, f in enumerate(self.filters)]
        matching = _where(where)
        if self.after is not None:
            where.append(_beyond(self.keys(resource), self.after, self.backwards, params))
        total = f", (select count(*) from {quote(resource.table)}{matching})" if self.page else ""
        select = resource.select.replace("\nfrom ", total + "\nfrom ", 1)
        order = ", ".join(
            quote(s.column.name) + (" desc" if s.descending != self.backwards else "")
            for s in self.keys(resource)
        )
        params["forge_limit"] = self.limit + 1
        sql = f"{select}{_where(where)}\norder by {order}\nlimit %(forge_limit)s"
        if self.page and self.page > 1:
            params["forge_offset"] = (self.page - 1) * self.limit
            sql += " offset %(forge_offset)s"
        return sql, params

    def keys(self, resource: Resource[Any]) -> tuple[Sort, ...]:
        """The sort keys made total by the id."""
        return total_order(resource, self.sorts)


def total_order(resource: Resource[Any], sorts: tuple[Sort, ...]) -> tuple[Sort, ...]:
    """`sorts`, ended by the id when it is not among them; newest first when nothing was asked
    for.
    """
    identity = resource.columns[0]
    if not sorts:
        return (Sort(identity, descending=True),)
    if any(s.column is identity for s in sorts):
        return sorts
    return (*sorts, Sort(identity, sorts[-1].descending))


def _one(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = query.get(name)
    if not values:
        return None
    if len(values) > 1:
        raise BadRequest(f"{name} is given more than once")
    return values[0]


def _number(query: Mapping[str, Sequence[str]], name: str, most: int) -> int | None:
    text = _one(query, name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not 1 <= int(text) <= most:
        raise BadRequest(f"{name} must be a whole number from 1 to {most}")
    return int(text)


def _sorts(resource: Resource[Any], text: str | None) -> tuple[Sort, ...]:
    if text is None:
        return ()
    sorts: list[Sort] = []
    for part in text.split(","):
        column = resource.column(part.removeprefix("-"))
        if column is None or not column.sortable or any(s.column is column for s in sorts):
            allowed = ", ".join(c.name for c in resource.columns if c.sortable)
            raise BadRequest(f"sort by each of these at most once: {allowed}")
        sorts.append(Sort(column, part.startswith("-")))
    return tuple(sorts)


def _filter(resource: Resource[Any], key: str, text: str) -> Filter:
    match = _KEY.fullmatch(key)
    column = resource.column(match[1]) if match else None
    if match is None or column is None or not column.filterable:
        allowed = ", ".join(c.name for c in resource.columns if c.filterable)
        raise BadRequest(f"{key} is no filter of this list; filters: {allowed}")
    operator = match[2] or "eq"
    if operator not in _OPERATORS and operator not in _OTHER:
        raise BadRequest(f"{key}: operators are {', '.join((*_OPERATORS, *_OTHER))}")
    if operator == "contains" and column.type not in ("string", "text"):
        raise BadRequest(f"{key}: contains works on text only")
    try:
        return Filter(column, operator, _filter_value(column, operator, text))
    except ValueError as err:
        raise BadRequest(f"{key} {err}") from None


def _filter_value(column: Column, operator: str, text: str) -> Any:
    if operator == "is_null":
        return read_text("bool", text)
    if operator == "in":
        return [read_text(column.type, part) for part in text.split(",")]
    return read_text(column.type, text)


def _condition(f: Filter, param: str, params: dict[str, Any]) -> str:
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
    return f"{name} {_OPERATORS[f.operator]} %({param})s"


def _where(conditions: Sequence[str]) -> str:
    return "\nwhere " + " and ".join(conditions) if conditions else ""


def _beyond(
    keys: Sequence[Sort], values: Sequence[Any], backwards: bool, params: dict[str, Any]
) -> str:
    """The rows strictly after the one whose keys are `values`."""
    for n, value in enumerate(values):
        params[f"k{n}"] = value
    directions = {s.descending for s in keys}
    if len(directions) == 1 and not any(s.column.nullable for s in keys):
        # PERF: a row comparison is one range on the index; the general form below is a filter.
        columns = ", ".join(quote(s.column.name) for s in keys)
        operator = "<" if keys[0].descending != backwards else ">"
        marks = ", ".join(f"%(k{n})s" for n in range(len(keys)))
        return f"({columns}) {operator} ({marks})"
    condition = ""
    for n in reversed(range(len(keys))):
        ahead, level = _ahead(keys[n], values[n], f"k{n}", backwards)
        condition = f"({ahead} or ({level} and {condition}))" if condition else f"({ahead})"
    return condition


def _ahead(sort: Sort, value: Any, param: str, backwards: bool) -> tuple[str, str]:
    """SQL for "this key lies further on" and for "this key is the same"."""
    name = quote(sort.column.name)
    descending = sort.descending != backwards
    if value is None:
        return (f"{name} is not null" if descending else "false"), f"{name} is null"
    ahead = f"{name} {'<' if descending else '>'} %({param})s"
    if sort.column.nullable and not descending:
        ahead = f"({ahead} or {name} is null)"
    return ahead, f"{name} = %({param})s"
