"""A list query: what a client may ask of a list, checked. `listing` makes its SQL.

Names come from the resource's own columns and relations, and only from those that the current
identity may see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import BadRequest, FieldError
from ...expression import expression
from ...text import text
from ..base import hidden_columns
from ..resource import Column, Resource, Sort
from ..values import TYPES, read_text

DEFAULT_LIMIT = 25
MAX_LIMIT = 100
MAX_PAGE = 100_000
MAX_CONDITIONS = 20
MAX_SEARCH = 200  # characters
# Operator → SQL between the column and its value, which is in parentheses.
OPERATORS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
OPERATORS |= {"in": "= any", "contains": "ilike"}
_KEY = expression(r"([a-z][a-z0-9_]*)(?:\[([a-z_]+)\])?")
_NUMBER = expression("[0-9]{1,9}")
_ALL = (*OPERATORS, "is_null")
_CONTROL = frozenset({"limit", "cursor", "sort", "page", "per_page", "q", "include"})

Read = Callable[[str, Any], Any]


class Filter(NamedTuple):
    """One condition. value: a Python value; a list for "in", a bool for "is_null"."""

    column: Column
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What to list. q: words to search for, "" for none; without `sorts` the best match comes
    first.

    cursor: where to go on, as a page gave it. page: from 1, then the answer has a total; None for
    cursors. include: names of relations whose rows are wanted too, not checked yet.
    """

    filters: tuple[Filter, ...] = ()
    sorts: tuple[Sort, ...] = ()
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    page: int | None = None
    q: str = ""
    include: tuple[str, ...] = ()

    @classmethod
    def parse(
        cls,
        resource: Resource[Any],
        query: Mapping[str, Sequence[str]],
        *,
        max_conditions: int = MAX_CONDITIONS,
    ) -> ListQuery:
        """From a decoded query string, name → values. The same condition twice counts once.

        Raises BadRequest naming the parameter and what would be allowed; F643 for more than
        `max_conditions`.
        """
        pairs: list[tuple[str, Any]] = []
        for key, values in query.items():
            whole = key.endswith("[in]") and len(values) > 1  # so that a value may hold a comma
            kept = [values] if whole else dict.fromkeys(values)
            pairs += [(key, v) for v in kept if key not in _CONTROL]
        if len(pairs) > max_conditions:
            raise _too_many(pairs[max_conditions][0], max_conditions)
        cursor, include = _one(query, "cursor"), _one(query, "include")
        page = _number("page", _one(query, "page"), MAX_PAGE) if "page" in query else None
        if page is not None and cursor is not None:
            raise BadRequest(text("page and cursor exclude each other"))
        wrong, size = ("limit", "per_page") if page else ("per_page", "limit")
        if wrong in query:
            message = text("{name} does not go with this; use {size}", name=wrong, size=size)
            raise BadRequest(message)
        return cls(
            _filters(resource, pairs, read_text),
            _sorts(resource, _one(query, "sort")),
            _number(size, _one(query, size) if size in query else DEFAULT_LIMIT, MAX_LIMIT),
            cursor,
            page,
            _search(resource, _one(query, "q")),
            tuple(include.split(",")) if include else (),
        )

    @classmethod
    def of(
        cls,
        resource: Resource[Any],
        filters: Mapping[str, Any] | None = None,
        *,
        sort: str = "",
        limit: int = DEFAULT_LIMIT,
        q: str = "",
        page: int | None = None,
    ) -> ListQuery:
        """The same from Python values: {"status": "active", "price[gte]": Decimal(10)}; None means
        NULL, and "in" takes any iterable.

        limit: from 1 to 100. page: from 1. Raises BadRequest as `parse`.
        """
        pairs = [
            (key.removesuffix("[eq]") + "[is_null]", True) if value is None else (key, value)
            for key, value in (filters or {}).items()
        ]
        return cls(
            _filters(resource, pairs, lambda type_name, value: TYPES[type_name].read(value)),
            _sorts(resource, sort or None),
            _number("limit", limit, MAX_LIMIT),
            page=None if page is None else _number("page", page, MAX_PAGE),
            q=_search(resource, q),
        )


def kind_of(column: Column) -> str:
    """The type that its values are read as: once stored, an address or a slug is any text."""
    return "string" if column.type in ("text", "slug", "email", "url") else column.type


def join(names: Iterable[str]) -> str:
    """What is allowed, in a sentence."""
    return ", ".join(names) or text("none")


def _too_many(name: str, most: int) -> BadRequest:
    message = text("a list takes at most {max} conditions", max=most)
    error = BadRequest(message, code="F643")
    error.errors = (
        FieldError("/" + name.replace("~", "~0").replace("/", "~1"), "too_many", message),
    )
    return error


def _one(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = query.get(name)
    if not values:
        return None
    if len(values) > 1:
        raise BadRequest(text("{name} is given more than once", name=name))
    return values[0]


def _number(name: str, given: object, most: int) -> int:
    """A whole number from 1, as digits or as itself."""
    spelled = str(given)
    if _NUMBER.fullmatch(spelled) and 1 <= (number := int(spelled)) <= most:
        return number
    raise BadRequest(text("{name} must be a whole number from 1 to {most}", name=name, most=most))


def _search(resource: Resource[Any], given: str | None) -> str:
    if not given:
        return ""
    if not resource.searchable:
        raise BadRequest(text("this list cannot be searched"))
    if len(given) > MAX_SEARCH:
        raise BadRequest(text("q must have at most {max} characters", max=MAX_SEARCH))
    return str(_value("q", "string", given.strip(), read_text))


def _sorts(resource: Resource[Any], given: str | None) -> tuple[Sort, ...]:
    if given is None:
        return ()
    columns = _seen(resource, lambda c: c.sortable)
    sorts: dict[str, Sort] = {}
    for part in given.split(","):
        name = part.removeprefix("-")
        if name not in columns or name in sorts:
            allowed = join(columns)
            raise BadRequest(text("sort by each of these at most once: {allowed}", allowed=allowed))
        sorts[name] = Sort(columns[name], part.startswith("-"))
    return tuple(sorts.values())


def _seen(resource: Resource[Any], fits: Callable[[Column], bool]) -> dict[str, Column]:
    """The columns that fit, by name, of those that the current identity may see."""
    hidden = hidden_columns(resource)
    return {c.name: c for c in resource.columns if fits(c) and c.name not in hidden}


def _filters(
    resource: Resource[Any], pairs: Sequence[tuple[str, Any]], read: Read
) -> tuple[Filter, ...]:
    columns = _seen(resource, lambda c: c.filterable) if pairs else {}
    return tuple(_filter(columns, key, value, read) for key, value in pairs)


def _filter(columns: Mapping[str, Column], key: str, value: Any, read: Read) -> Filter:
    match = _KEY.fullmatch(key)
    column = columns.get(match[1]) if match else None
    if match is None or column is None:
        allowed = join(columns)
        raise BadRequest(
            text("{name} is no filter of this list; filters: {allowed}", name=key, allowed=allowed)
        )
    operator = match[2] or "eq"
    if operator not in _ALL:
        raise BadRequest(text("{name}: operators are {allowed}", name=key, allowed=join(_ALL)))
    kind = kind_of(column)
    if operator == "contains" and kind != "string":
        raise BadRequest(text("{name}: contains works on text only", name=key))
    if operator == "in":
        parts = value.split(",") if isinstance(value, str) else value
        return Filter(column, operator, [_value(key, kind, part, read) for part in parts])
    kind = "bool" if operator == "is_null" else kind
    return Filter(column, operator, _value(key, kind, value, read))


def _value(name: str, kind: str, value: Any, read: Read) -> Any:
    try:
        return read(kind, value)
    except ValueError as err:
        raise BadRequest(f"{name} {err}") from None
