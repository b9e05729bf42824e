"""List queries: the parsing of a client's query, and the SQL of lists.

Names are those of the resource's own columns and relations that the current identity may see, and
of columns of related rows that it may read.
Values are always parameters. A list is one statement, one round trip. Sorting is total (the key is
the last sort key), and a position continues it exactly, NULLs included: they are last in ascending
order and first in descending order, as in PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from .. import db
from ..errors import BadRequest, FieldError
from ..i18n import text
from ..lazy import lazy_pattern
from .base import DEFAULTS, hidden_columns, load_frames, scope
from .check import pointer
from .order import RANK, RANKED, WORDS, Order, Params, Position, beyond, order_by
from .resource import Column, Relation, Resource, Sort, quote
from .values import TYPES, read_text

DEFAULT_LIMIT = 25
MAX_LIMIT = 100
MAX_PAGE = 10_000
MAX_SEARCH = 200  # characters
MAX_RANKED = 10_000  # results of a search that are ranked; of more, an arbitrary part
MAX_WALKED = 10_000  # rows of a large table that are read in the order of a list with conditions
MAX_COUNT = 10_000  # rows that are counted; PostgreSQL's estimate is the total of more
# Operator → SQL between the column and the parentheses around its value.
OPERATORS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
OPERATORS |= {"in": "= any", "contains": "ilike"}
_KEY = lazy_pattern(r"([a-z][a-z0-9_.]*)(?:\[([a-z_]+)\])?")
_NUMBER = lazy_pattern("[0-9]{1,9}")
_ALL = (*OPERATORS, "is_null")
CONTROL = frozenset({"limit", "cursor", "sort", "page", "per_page", "q", "include"})

LISTS = load_frames("lists.sql")


Target = tuple[Relation, Resource[Any]]
Read = Callable[[str, Any], Any]


class Filter(NamedTuple):
    """One condition.

    value: a Python value; a list for "in", a bool for "is_null".
    frame: SQL with "{}" for the condition, if the column is that of a related row.
    related: the relation to that row, and its target.
    """

    column: Column
    operator: str
    value: Any
    frame: str = "{}"
    related: Target | None = None


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A query for a list.

    sorts: sort keys; without them, a search returns the best match first, a list the newest row.
    cursor: continue from here; from `Page.next` or `Page.prev`, or cursors.LAST.
    deleted: rows that are marked as deleted, instead of all others.
    counted: the page has a total, which is an estimate above MAX_COUNT; not with `page`.
    page: the number of the page, from 1, for a page with such a total; None for cursors.
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
    counted: bool = False
    deleted: bool = False

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
        page = one_of(query, "page") if "page" in query else None
        if page is not None and cursor is not None:
            raise BadRequest(text("use either page or cursor, not both"))
        wrong, size = ("limit", "per_page") if page else ("per_page", "limit")
        if wrong in query:
            message = text("{name} is not possible here; use {size}", name=wrong, size=size)
            raise BadRequest(message)
        limit = _number(size, one_of(query, size) if size in query else DEFAULT_LIMIT, MAX_LIMIT)
        return cls(
            _filters(resource, pairs, read_text),
            _sorts(resource, one_of(query, "sort")),
            limit,
            cursor,
            _page(page, limit),
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
            limit=_number("limit", limit, MAX_LIMIT),
            page=_page(page, limit),
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


def _page(page: object, limit: int) -> int | None:
    """The number of a page. Raises BadRequest beyond MAX_COUNT rows, which are read one by one."""
    if page is None:
        return None
    number = _number("page", page, MAX_PAGE)
    if number * limit > MAX_COUNT:
        message = text("numbered pages end at row {max}; use limit and cursor", max=MAX_COUNT)
        raise BadRequest(message)
    return number


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
    resource: Resource[Any], query: ListQuery, at: Position | None = None, is_large: bool = False
) -> tuple[str, Params]:
    """Return the SQL of a list and its parameters, without forge_tenant.

    is_large: the table has so many rows that the values of the query decide about its plan.

    The result has the resource's columns, the rank if it is a sort key, and the total if the query
    has a page or is counted. It has one row more than the limit if there is another page.
    """
    params: Params = {}
    where = conditions(resource, query, params)
    order = order_of(resource, query)
    more = f", {RANKED} as forge_rank" if order[0].column is RANK else ""
    # PERF: for a parameter as limit, the planner assumes a tenth of the table, and plans again at
    # each call (benchmarks/http, list). SAFETY: `:d` raises ValueError unless it is an int.
    paging = f"\nlimit {query.limit + 1:d}" + (db.PLAN_ANEW if is_large else "")
    if query.page or query.counted:
        source = quote(resource.source or resource.table)
        rows = _some("", source, where, MAX_COUNT + 1, query)
        more += f", (select count(*) from ({rows}) forge_counted) as forge_total"
    if query.page and query.page > 1:
        params["forge_offset"] = (query.page - 1) * query.limit
        paging += " offset %(forge_offset)s"
    columns, _, source = resource.select.partition("\nfrom ")
    if order[0].column is RANK:
        # Ranking reads the text of each row: without a limit it takes seconds for a frequent word.
        source = f"({_some('*', source, where, MAX_RANKED, query)}) forge_found"
        where = []
    found, most = "", (query.page or 1) * query.limit + 1
    is_walked = is_large and most <= MAX_LIMIT + 1 and _has_index(query, order)
    if is_walked and (query.filters or query.q):
        found = _found(resource, query, at, most, params)
        source, where = "forge_found", []
    select = f"{columns}{more}\nfrom {source}"
    return found + _ordered(select, where, order, at, paging, params), params


def _some(columns: str, source: str, where: list[str], most: int, query: ListQuery) -> str:
    """Return the SQL of at most `most` of the matching rows, in no order."""
    rows = f"select {columns} from {source}{where_clause(where)}"
    if query.q:
        # PERF: the planner assumes that words are frequent, so for a few rows it would read the
        # table. A materialized CTE is planned for all of its rows, by the index (make bigtables).
        rows = f"with forge_all as materialized (\n{rows}\n)\nselect {columns} from forge_all"
    return f"{rows}\nlimit {most:d}"


def _has_index(query: ListQuery, order: Order) -> bool:
    """Whether rows can be read in this order, see `migrations.desired`."""
    names = ("created_at", "updated_at", RANK.name)
    is_indexed = len(order) <= 2 and order[0].column.name not in names
    return is_indexed and len({s.descending for s in order}) == 1 and not query.deleted


def _found(
    resource: Resource[Any], query: ListQuery, at: Position | None, most: int, params: Params
) -> str:
    """The common table expression forge_found: rows that match, with the first `most` of the list.

    PERF: the planner assumes that matching rows are spread evenly, and that each word of a search
    is frequent: for rare values it would read the table in the order of the list (make bigtables).
    So only the first rows are read in it, and if too few of them match, all that match are sorted.
    """
    where, order = conditions(resource, query, params), order_of(resource, query)
    always = len(conditions(resource, replace(query, filters=(), q=""), {}))
    # Conditions on the first sort key are a range of its index.
    in_range = [f.column is order[0].column and f.frame == "{}" for f in query.filters]
    walked = where[:always] + [each for each, is_in in zip(where[always:], in_range) if is_in]
    matches = " and ".join(each for each in where if each not in walked) or "true"
    columns, _, source = resource.select.partition("\nfrom ")
    select = f"{columns}, {matches} as forge_matches\nfrom {source}"
    walk = _ordered(select, walked, order, at, f"\nlimit {MAX_WALKED}", params)
    is_short = f"(select count(*) from forge_near) < {most:d}"
    every = "\nunion all\n".join(
        f"{columns}, true\nfrom {source}{where_clause([*where, *rows, is_short])}"
        for _, rows in beyond(order, at, params)
    )
    return LISTS["found"].substitute(walk=walk, every=every, most=f"{most:d}")


def _ordered(
    select: str, where: list[str], order: Order, at: Position | None, paging: str, params: Params
) -> str:
    """The SQL of rows in their order, from the position on."""
    backwards = at is not None and at.backwards
    parts = [
        select + where_clause([*where, *rows]) + order_by(order[same:], backwards) + paging
        for same, rows in beyond(order, at, params)
    ]
    if len(parts) == 1:
        return parts[0]
    # PERF: each of these is a range of the index; joined by OR they would filter all of it.
    ranges = "\nunion all\n".join(f"({part})" for part in parts)
    return f"select * from (\n{ranges}\n) forge_rows{order_by(order, backwards)}{paging}"


def plan(resource: Resource[Any], query: ListQuery) -> tuple[str, Params]:
    """Return an EXPLAIN of all rows of a list, which has PostgreSQL's estimate of their number."""
    params: Params = {}
    source, where = quote(resource.source or resource.table), conditions(resource, query, params)
    return f"explain (format json) select from {source}{where_clause(where)}", params


def count(resource: Resource[Any], query: ListQuery, most: int) -> tuple[str, Params]:
    """Return a statement that counts the rows of a list up to `most`."""
    params: Params = {}
    source, where = quote(resource.source or resource.table), conditions(resource, query, params)
    return f"select count(*) from ({_some('', source, where, most, query)}) forge_counted", params


def conditions(resource: Resource[Any], query: ListQuery, params: Params) -> list[str]:
    """Return the conditions for the rows of a list as SQL, and add their values to `params`."""
    assert not query.related  # SAFETY: a condition that is not checked yet would be ignored
    where = scope(resource, "", live=not query.deleted)
    if query.deleted:
        where.append('"deleted_at" is not null')
    for n, f in enumerate(query.filters):
        where.append(f.frame.format(_condition(f, f"f{n}", params)))
    if query.q:
        where.append(f'"forge_search" @@ {WORDS}')
        # While a user types, the last word is often incomplete. Quotes and operators end it.
        is_word = query.q.rpartition(" ")[2].isalnum()
        params |= {"forge_q": query.q, "forge_prefix": ":*" if is_word else ""}
    return where


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
