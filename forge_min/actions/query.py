"""List queries: the parsing of a client's query, and the SQL of lists.

Names are those of the resource's own columns and relations that the current identity may see;
related.py adds the conditions on related rows.
Values are always parameters. A list is one statement, one round trip. Sorting is total (the key is
the last sort key), and a position continues it exactly, NULLs included: they are last in ascending
order and first in descending order, as in PostgreSQL.

A cursor is a position as an opaque token, signed for one list of one tenant. A client can read its
keys, which are those of a row that it received, but cannot create one: any other token raises
BadRequest.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from ..errors import BadRequest, FieldError
from ..i18n import text
from ..lazy import lazy_pattern
from .base import DEFAULTS, hidden_columns, scope
from .check import pointer
from .resource import Column, Resource, Sort, quote
from .values import TYPES, read_text, to_text

DEFAULT_LIMIT = 25
MAX_LIMIT = 100
MAX_PAGE = 100_000
MAX_SEARCH = 200  # characters
# Operator → SQL between the column and the parentheses around its value.
OPERATORS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
OPERATORS |= {"in": "= any", "contains": "ilike"}
_KEY = lazy_pattern(r"([a-z][a-z0-9_.]*)(?:\[([a-z_]+)\])?")
_NUMBER = lazy_pattern("[0-9]{1,9}")
_ALL = (*OPERATORS, "is_null")
CONTROL = frozenset({"limit", "cursor", "sort", "page", "per_page", "q", "include"})

Order = tuple[Sort, ...]
Params = dict[str, Any]

# How well a row matches the words: the sort key of a search without `sort`.
RANK = Column("forge_rank", "string", nullable=False)
_WORDS = "websearch_to_tsquery('simple', %(forge_q)s)"
_RANKED = f'ts_rank("forge_search", {_WORDS})'
# PERF: json.dumps with options would create an encoder at each call.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_MAC = 16  # bytes of HMAC-SHA256 in a token; RFC 2104 section 5 requires at least half

Read = Callable[[str, Any], Any]


class Filter(NamedTuple):
    """One condition.

    value: a Python value; a list for "in", a bool for "is_null".
    frame: SQL with "{}" for the condition, if the column is that of a related row.
    """

    column: Column
    operator: str
    value: Any
    frame: str = "{}"


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A query for a list.

    sorts: sort keys; without them, a search returns the best match first, a list the newest row.
    cursor: continue from here; from `Page.next` or `Page.prev`.
    page: the number of the page, from 1, for a page with a total; None for cursors.
    q: the words of a search, or "".
    include: names of relations for related rows, not checked yet.
    related: conditions on related rows, not checked yet: "ward.code[in]", the value, its reader.
    """

    filters: tuple[Filter, ...] = ()
    sorts: tuple[Sort, ...] = ()
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    page: int | None = None
    q: str = ""
    include: tuple[str, ...] = ()
    related: tuple[tuple[str, Any, Read], ...] = ()

    @classmethod
    def parse(
        cls,
        resource: Resource[Any],
        query: Mapping[str, Sequence[str]],
        *,
        max_conditions: int = DEFAULTS.conditions,
    ) -> ListQuery:
        """Read a decoded query string, name → values. Duplicate conditions count once.

        Raises BadRequest with the name of the parameter and the allowed values; F643 for more than
        `max_conditions`.
        """
        pairs: list[tuple[str, Any]] = []
        for key, values in query.items():
            is_list = key.endswith("[in]") and len(values) > 1  # its values may contain commas
            conditions = [values] if is_list else dict.fromkeys(values)
            pairs += [(key, value) for value in conditions if key not in CONTROL]
        if len(pairs) > max_conditions:
            raise _too_many(pairs[max_conditions][0], max_conditions)
        cursor, include = one_of(query, "cursor"), one_of(query, "include")
        page = _number("page", one_of(query, "page"), MAX_PAGE) if "page" in query else None
        if page is not None and cursor is not None:
            raise BadRequest(text("use either page or cursor, not both"))
        wrong, size = ("limit", "per_page") if page else ("per_page", "limit")
        if wrong in query:
            message = text("{name} is not possible here; use {size}", name=wrong, size=size)
            raise BadRequest(message)
        return cls(
            _filters(resource, pairs, read_text),
            _sorts(resource, one_of(query, "sort")),
            _number(size, one_of(query, size) if size in query else DEFAULT_LIMIT, MAX_LIMIT),
            cursor,
            page,
            _search(resource, one_of(query, "q")),
            tuple(include.split(",")) if include else (),
            _related(pairs, read_text),
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
        """Build a query from Python values.

        filters: {"status": "active", "price[gte]": Decimal(10), "maker.name": "Ann"}; None means
            NULL, and "in" takes any iterable.
        limit: from 1 to 100.
        page: from 1.

        Raises BadRequest as `parse`.
        """
        pairs = [
            (key.removesuffix("[eq]") + "[is_null]", True) if value is None else (key, value)
            for key, value in (filters or {}).items()
        ]
        return cls(
            _filters(resource, pairs, _read_value),
            _sorts(resource, sort or None),
            _number("limit", limit, MAX_LIMIT),
            page=None if page is None else _number("page", page, MAX_PAGE),
            q=_search(resource, q),
            related=_related(pairs, _read_value),
        )


def kind_of(column: Column) -> str:
    """Return the type by which its values are read: stored addresses and slugs are any text."""
    return "string" if column.type in ("text", "slug", "email", "url") else column.type


def join(names: Iterable[str]) -> str:
    """Return allowed names as text for a message."""
    return ", ".join(names) or text("none")


def _too_many(name: str, most: int) -> BadRequest:
    message = text("a list can have at most {max} conditions", max=most)
    error = BadRequest(message, code="F643")
    error.errors = (FieldError(pointer(name), "too_many", message),)
    return error


def one_of(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    """Return the only value of a parameter. Raises BadRequest for several."""
    values = query.get(name)
    if not values:
        return None
    if len(values) > 1:
        raise BadRequest(text("{name} occurs more than once", name=name))
    return values[0]


def _number(name: str, value: object, most: int) -> int:
    """A whole number from 1 to `most`, from digits or an int."""
    digits = str(value)
    if _NUMBER.fullmatch(digits) and 1 <= (number := int(digits)) <= most:
        return number
    raise BadRequest(text("{name} must be a whole number from 1 to {most}", name=name, most=most))


def _search(resource: Resource[Any], words: str | None) -> str:
    if not words:
        return ""
    if not resource.searchable:
        raise BadRequest(text("this list cannot be searched"))
    if len(words) > MAX_SEARCH:
        raise BadRequest(text("q must have at most {max} characters", max=MAX_SEARCH))
    return str(_value("q", "string", words.strip(), read_text))


def _sorts(resource: Resource[Any], keys: str | None) -> tuple[Sort, ...]:
    if keys is None:
        return ()
    columns = visible(resource, lambda c: c.sortable)
    sorts: dict[str, Sort] = {}
    for key in keys.split(","):
        name = key.removeprefix("-")
        if name not in columns or name in sorts:
            allowed = join(columns)
            raise BadRequest(text("sort by each of these at most once: {allowed}", allowed=allowed))
        sorts[name] = Sort(columns[name], key.startswith("-"))
    return tuple(sorts.values())


def visible(resource: Resource[Any], fits: Callable[[Column], bool]) -> dict[str, Column]:
    """Return the columns that fit and that the current identity may see, by name."""
    hidden = hidden_columns(resource)
    return {c.name: c for c in resource.columns if fits(c) and c.name not in hidden}


def _filters(
    resource: Resource[Any], pairs: Sequence[tuple[str, Any]], read: Read
) -> tuple[Filter, ...]:
    columns = filterable(resource) if pairs else {}
    return tuple(read_filter(columns, key, value, read) for key, value in pairs if "." not in key)


def _related(pairs: Sequence[tuple[str, Any]], read: Read) -> tuple[tuple[str, Any, Read], ...]:
    return tuple((key, value, read) for key, value in pairs if "." in key)


def filterable(resource: Resource[Any]) -> dict[str, Column]:
    """Return the columns by which the current identity may filter, by name."""
    return visible(resource, lambda c: c.filterable)


def read_filter(columns: Mapping[str, Column], key: str, value: Any, read: Read) -> Filter:
    """Return one condition. Raises BadRequest as `ListQuery.parse`.

    columns: by the names that are allowed.
    key: a name, and an operator in brackets.
    read: reads the value.
    """
    match = _KEY.fullmatch(key)
    column = columns.get(match[1]) if match else None
    if match is None or column is None:
        allowed = join(columns)
        message = text("{name} is not a filter here; filters: {allowed}", name=key, allowed=allowed)
        raise BadRequest(message)
    operator = match[2] or "eq"
    if operator not in _ALL:
        raise BadRequest(text("{name}: operators are {allowed}", name=key, allowed=join(_ALL)))
    kind, _, is_list = kind_of(column).partition("[")
    if is_list and operator not in ("contains", "is_null"):
        raise BadRequest(text("{name}: the operators of a list are contains, is_null", name=key))
    if operator == "contains" and kind != "string" and not is_list:
        raise BadRequest(text("{name}: contains is only for text", name=key))
    if operator == "in":
        parts = value.split(",") if isinstance(value, str) else value
        return Filter(column, operator, [_value(key, kind, part, read) for part in parts])
    kind = "bool" if operator == "is_null" else kind
    return Filter(column, operator, _value(key, kind, value, read))


def _read_value(kind: str, value: Any) -> Any:
    return TYPES[kind].read(value)


def _value(name: str, kind: str, value: Any, read: Read) -> Any:
    try:
        return read(kind, value)
    except ValueError as err:
        raise BadRequest(f"{name} {err}") from None


# -- as SQL ----------------------------------------------------------------------------------------


class Position(NamedTuple):
    """A position between two rows of a list.

    keys: the sort keys of a row.
    backwards: whether it is before this row instead of after it.
    """

    keys: tuple[Any, ...]
    backwards: bool = False


def order_of(resource: Resource[Any], query: ListQuery) -> Order:
    """Return the sort keys up to the primary key, which makes the order total.

    By default the best match of a search is first, else the newest row.
    """
    sorts = query.sorts or ((Sort(RANK, descending=True),) if query.q else ())
    for n, sort in enumerate(sorts, 1):
        if sort.column is resource.key:
            return sorts[:n]
    return (*sorts, Sort(resource.key, sorts[-1].descending if sorts else True))


def statement(
    resource: Resource[Any], query: ListQuery, at: Position | None = None
) -> tuple[str, Params]:
    """Return the SQL of a list and its parameters, without forge_tenant.

    The result has the resource's columns, the rank if it is a sort key, and the total if the query
    has a page. It has one row more than the limit if there is another page.
    """
    params: Params = {}
    where = conditions(resource, query, params)
    order = order_of(resource, query)
    more = f", {_RANKED} as forge_rank" if order[0].column is RANK else ""
    # PERF: for a parameter as limit, the planner assumes a tenth of the table, and plans again at
    # each call (benchmarks/http, list). SAFETY: `:d` raises ValueError unless it is an int.
    paging = f"\nlimit {query.limit + 1:d}"
    if query.page:
        source = quote(resource.source or resource.table)
        more += f", (select count(*) from {source}{where_clause(where)}) as forge_total"
        if query.page > 1:
            params["forge_offset"] = (query.page - 1) * query.limit
            paging += " offset %(forge_offset)s"
    select = resource.select.replace("\nfrom ", more + "\nfrom ", 1)
    if at is None:
        return select + where_clause(where) + _by(order) + paging, params
    parts = [
        select + where_clause([*where, *beyond]) + _by(order[same:], at.backwards) + paging
        for same, beyond in _beyond(order, at, params)
    ]
    if len(parts) == 1:
        return parts[0], params
    # PERF: each of these is a range of the index; joined by OR they would filter all of it.
    ranges = "\nunion all\n".join(f"({part})" for part in parts)
    return f"select * from (\n{ranges}\n) forge_rows{_by(order, at.backwards)}{paging}", params


def conditions(resource: Resource[Any], query: ListQuery, params: Params) -> list[str]:
    """Return the conditions for the rows of a list as SQL, and add their values to `params`."""
    assert not query.related  # SAFETY: a condition that is not checked yet would be ignored
    where = scope(resource, "")
    for n, f in enumerate(query.filters):
        where.append(f.frame.format(_condition(f, f"f{n}", params)))
    if query.q:
        where.append(f'"forge_search" @@ {_WORDS}')
        params["forge_q"] = query.q
    return where


def _name(sort: Sort) -> str:
    return _RANKED if sort.column is RANK else quote(sort.column.name)


def _by(order: Order, backwards: bool = False) -> str:
    keys = (_name(s) + (" desc" if s.descending != backwards else "") for s in order)
    return "\norder by " + ", ".join(keys)


def where_clause(conditions: Sequence[str]) -> str:
    """Return the where clause of conditions, "" without any."""
    return "\nwhere " + " and ".join(conditions) if conditions else ""


def _condition(f: Filter, param: str, params: Params) -> str:
    name = quote(f.column.name)
    if f.operator == "is_null":
        return f"{name} is {'' if f.value else 'not '}null"
    params[param] = f.value
    if f.column.type.endswith("[]"):
        return f"{name} @> array[%({param})s::{'int' if f.column.type == 'int[]' else 'text'}]"
    if f.operator == "contains":
        escaped = f.value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        params[param] = f"%{escaped}%"
    return f"{name} {OPERATORS[f.operator]} (%({param})s)"


# -- positions -------------------------------------------------------------------------------------


def _beyond(order: Order, at: Position, params: Params) -> list[tuple[int, list[str]]]:
    """The rows strictly after the position, as ranges that do not overlap.

    Returns for each range the number of leading sort keys that are equal in it, and its conditions.
    """
    params.update((f"k{n}", value) for n, value in enumerate(at.keys))
    marks = [f"%(k{n})s" + ("::real" if s.column is RANK else "") for n, s in enumerate(order)]
    names = [_name(s) for s in order]
    if len({s.descending for s in order}) == 1 and not any(s.column.nullable for s in order):
        # PERF: a row comparison is one range on the index.
        operator = "<" if order[0].descending != at.backwards else ">"
        return [(0, [f"({', '.join(names)}) {operator} ({', '.join(marks)})"])]
    ranges: list[tuple[int, list[str]]] = []
    level: list[str] = []  # the keys before the n-th are equal
    for n, (sort, value, name, mark) in enumerate(zip(order, at.keys, names, marks)):
        descending = sort.descending != at.backwards
        if value is not None:
            ranges.append((n, [*level, f"{name} {'<' if descending else '>'} {mark}"]))
            if sort.column.nullable and not descending:
                ranges.append((n + 1, [*level, f"{name} is null"]))
        elif descending:
            ranges.append((n, [*level, f"{name} is not null"]))
        level.append(f"{name} is null" if value is None else f"{name} = {mark}")
    return ranges


# -- positions as tokens ---------------------------------------------------------------------------


class Cursors:
    """The cursors of one tenant's list in one order; the filters may change.

    scope: identifies the list for which its cursors are signed.
    """

    def __init__(
        self, resource: Resource[Any], query: ListQuery, tenant: UUID | None, secret: bytes
    ) -> None:
        self._order = order_of(resource, query)
        self._secret = secret
        indexes = {c.name: n for n, c in enumerate((*resource.columns, RANK))}
        self._indexes = [indexes[s.column.name] for s in self._order]
        order = ",".join(("-" if s.descending else "") + s.column.name for s in self._order)
        words = query.q if self._order[0].column is RANK else ""
        self.scope = f"{resource.topic} {tenant} {order} {words}"

    def at(self, values: Sequence[Any]) -> Position:
        """Return the position after a row in the result of `statement`."""
        return Position(tuple(values[n] for n in self._indexes))

    def write(self, values: Sequence[Any], backwards: bool) -> str:
        """Return the cursor that continues from a row."""
        texts = [None if key is None else to_text(key) for key in self.at(values).keys]
        return write_cursor(self._secret, self.scope, texts, backwards)

    def read(self, token: str) -> Position:
        """Return the position of a cursor. Raises BadRequest for a cursor of another list."""
        return read_cursor(self._secret, self.scope, token, self._keys)

    def _keys(self, texts: Sequence[str | None]) -> tuple[Any, ...]:
        return tuple(
            None if text is None else read_text(kind_of(sort.column), text)
            for sort, text in zip(self._order, texts, strict=True)
        )


def write_cursor(secret: bytes, scope: str, keys: Sequence[str | None], backwards: bool) -> str:
    """Return the token of a position.

    scope: identifies the list and the tenant.
    keys: as text, None for NULL.
    """
    body = _encode([int(backwards), keys]).encode()
    return _encode_base64(_sign(secret, scope, body) + body)


def read_cursor(
    secret: bytes, scope: str, token: str, keys: Callable[[Sequence[str | None]], tuple[Any, ...]]
) -> Position:
    """Return the position of a token.

    keys: reads the texts; raises ValueError for texts that an earlier release has signed, when a
        column had another type.

    Raises BadRequest for a token that `write_cursor` has not returned for this scope.
    """
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        signed = hmac.compare_digest(raw[:_MAC], _sign(secret, scope, raw[_MAC:]))
        if not signed or _encode_base64(raw) != token:
            raise ValueError("the signature does not match")
        backwards, texts = json.loads(raw[_MAC:])
        return Position(keys(texts), bool(backwards))
    except ValueError:
        message = text("the cursor does not belong to this list; start again without it")
        raise BadRequest(message, hint="keep sort and q unchanged") from None


def _sign(secret: bytes, scope: str, body: bytes) -> bytes:
    return hmac.digest(secret, scope.encode() + b"\x00" + body, "sha256")[:_MAC]


def _encode_base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
