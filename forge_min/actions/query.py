"""List queries: the parsing of a client's query, and the SQL of lists.

Names are those of the resource's own columns and relations that the current identity may see, and
of columns of related rows that it may read.
Values are always parameters. A list is one statement, one round trip. Sorting is total (the key is
the last sort key), and a position continues it exactly, NULLs included: they are last in ascending
order and first in descending order, as in PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .. import db
from ..errors import BadRequest, FieldError
from ..i18n import text
from ..lazy import lazy_pattern
from .base import DEFAULTS, hidden_columns, load_frames, scope
from .check import pointer
from .order import RANK, RANKED, WORDS, Order, Params, Position, beyond, order_by
from .resource import AnyResource, Column, Relation, Sort, quote
from .values import TYPES, read_text

DEFAULT_LIMIT = 25
MAX_LIMIT = 100
MAX_PAGE = 10_000
MAX_SEARCH = 200  # characters
MAX_RANKED = 10_000  # results of a search that are ranked; of more, an arbitrary part
MAX_WALKED = 10_000  # rows of a large table that are read in the order of a list with conditions
MAX_COUNT = 10_000  # rows that are counted; PostgreSQL's estimate is the total of more
# Operator → SQL between the column and the parentheses around its value.
OPERATORS = {
    "eq": "=",
    "ne": "<>",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "in": "= any",
    "contains": "ilike",
}
_KEY = lazy_pattern(r"([a-z][a-z0-9_.]*)(?:\[([a-z_]+)\])?")
_NUMBER = lazy_pattern("[0-9]{1,9}")
_ALL = (*OPERATORS, "is_null")
CONTROL = frozenset({"limit", "cursor", "sort", "page", "per_page", "q", "include"})

LISTS = load_frames("lists.sql")


Target = tuple[Relation, AnyResource]
QueryString = Mapping[str, Sequence[str]]  # decoded, name → values
Pairs = list[tuple[str, Any]]  # the key of a condition, such as "price[gte]", and its value
Read = Callable[[str, Any], Any]  # reads a value of a type, as `values.read_text`
RelatedCondition = tuple[str, Any, Read]


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
    related: tuple[RelatedCondition, ...] = ()
    counted: bool = False
    deleted: bool = False

    @classmethod
    def parse(
        cls,
        resource: AnyResource,
        query: QueryString,
        *,
        max_conditions: int = DEFAULTS.conditions,
    ) -> ListQuery:
        """Read a decoded query string, name → values. Duplicate conditions count once.

        Raises BadRequest with the name of the parameter and the allowed values; F643 for more than
        `max_conditions`.
        """
        pairs = _conditions_in(query)
        if len(pairs) > max_conditions:
            message = text("a list can have at most {max} conditions", max=max_conditions)
            key, _ = pairs[max_conditions]
            error = BadRequest(message, code="F643")
            error.errors = (FieldError(pointer(key), "too_many", message),)
            raise error
        cursor = one_of(query, "cursor")
        page = one_of(query, "page")
        if page is not None and cursor is not None:
            raise BadRequest(text("use either page or cursor, not both"))
        size = "limit"
        wrong = "per_page"
        if page:
            size, wrong = wrong, size
        if wrong in query:
            message = text("{name} is not possible here; use {size}", name=wrong, size=size)
            raise BadRequest(message)
        limit = DEFAULT_LIMIT
        if size in query:
            limit = _number(size, one_of(query, size), MAX_LIMIT)
        return cls(
            _filters(resource, pairs, read_text),
            _sorts(resource, one_of(query, "sort")),
            limit,
            cursor,
            _page(page, limit),
            _search(resource, one_of(query, "q")),
            names_in(query, "include"),
            _related(pairs, read_text),
        )

    @classmethod
    def of(
        cls,
        resource: AnyResource,
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
        pairs = []
        for key, value in (filters or {}).items():
            if value is None:
                key = key.removesuffix("[eq]") + "[is_null]"
                value = True
            pairs.append((key, value))
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
    if column.type in ("text", "slug", "email", "url"):
        return "string"
    return column.type


def join(names: Iterable[str]) -> str:
    """Return allowed names as text for a message."""
    return ", ".join(names) or text("none")


def _conditions_in(query: QueryString) -> Pairs:
    """The conditions of a query string, as (key, value)."""
    pairs = []
    for key, values in query.items():
        if key in CONTROL:
            continue
        if key.endswith("[in]") and len(values) > 1:  # these values may contain commas
            pairs.append((key, values))
        else:
            pairs += [(key, value) for value in dict.fromkeys(values)]
    return pairs


def one_of(query: QueryString, name: str) -> str | None:
    """Return the only value of a parameter. Raises BadRequest for several."""
    values = query.get(name)
    if not values:
        return None
    if len(values) > 1:
        raise BadRequest(text("{name} occurs more than once", name=name))
    return values[0]


def names_in(query: QueryString, name: str) -> tuple[str, ...]:
    """Return the names in a parameter, which commas separate. Raises as `one_of`."""
    value = one_of(query, name)
    return tuple(value.split(",")) if value else ()


def _number(name: str, value: object, maximum: int) -> int:
    """A whole number from 1 to `maximum`, from digits or an int."""
    digits = str(value)
    if _NUMBER.fullmatch(digits):
        number = int(digits)
        if 1 <= number <= maximum:
            return number
    message = text("{name} must be a whole number from 1 to {most}", name=name, most=maximum)
    raise BadRequest(message)


def _page(page: object, limit: int) -> int | None:
    """The number of a page. Raises BadRequest beyond MAX_COUNT rows, which are read one by one."""
    if page is None:
        return None
    number = _number("page", page, MAX_PAGE)
    if number * limit > MAX_COUNT:
        message = text("numbered pages end at row {max}; use limit and cursor", max=MAX_COUNT)
        raise BadRequest(message)
    return number


def _search(resource: AnyResource, words: str | None) -> str:
    if not words:
        return ""
    if not resource.searchable:
        raise BadRequest(text("this list cannot be searched"))
    if len(words) > MAX_SEARCH:
        raise BadRequest(text("q must have at most {max} characters", max=MAX_SEARCH))
    return str(_value("q", "string", words.strip(), read_text))


def _sorts(resource: AnyResource, keys: str | None) -> tuple[Sort, ...]:
    if keys is None:
        return ()
    columns = visible(resource, lambda c: c.sortable)
    sorts = {}
    for key in keys.split(","):
        name = key.removeprefix("-")
        if name not in columns or name in sorts:
            allowed = join(columns)
            raise BadRequest(text("sort by each of these at most once: {allowed}", allowed=allowed))
        sorts[name] = Sort(columns[name], key.startswith("-"))
    return tuple(sorts.values())


def visible(resource: AnyResource, fits: Callable[[Column], bool]) -> dict[str, Column]:
    """Return the columns that fit and that the current identity may see, by name."""
    hidden = hidden_columns(resource)
    return {c.name: c for c in resource.columns if fits(c) and c.name not in hidden}


def _filters(resource: AnyResource, pairs: Pairs, read: Read) -> tuple[Filter, ...]:
    if not pairs:
        return ()
    columns = filterable(resource)
    return tuple(read_filter(columns, key, value, read) for key, value in pairs if "." not in key)


def _related(pairs: Pairs, read: Read) -> tuple[RelatedCondition, ...]:
    return tuple((key, value, read) for key, value in pairs if "." in key)


def filterable(resource: AnyResource) -> dict[str, Column]:
    """Return the columns by which the current identity may filter, by name."""
    return visible(resource, lambda c: c.filterable)


def read_filter(columns: Mapping[str, Column], key: str, value: Any, read: Read) -> Filter:
    """Return one condition. Raises BadRequest as `ListQuery.parse`.

    columns: by the names that are allowed.
    key: a name, and an operator in brackets.
    read: reads the value.
    """
    match = _KEY.fullmatch(key)
    if match is None or match[1] not in columns:
        allowed = join(columns)
        message = text("{name} is not a filter here; filters: {allowed}", name=key, allowed=allowed)
        raise BadRequest(message)
    column = columns[match[1]]
    operator = match[2] or "eq"
    if operator not in _ALL:
        raise BadRequest(text("{name}: operators are {allowed}", name=key, allowed=join(_ALL)))
    kind, _, is_list = kind_of(column).partition("[")
    if is_list and operator not in ("contains", "is_null"):
        raise BadRequest(text("{name}: the operators of a list are contains, is_null", name=key))
    if operator == "contains" and kind != "string" and not is_list:
        raise BadRequest(text("{name}: contains is only for text", name=key))
    if operator == "in":
        if isinstance(value, str):
            value = value.split(",")
        values = [_value(key, kind, entry, read) for entry in value]
        return Filter(column, operator, values)
    if operator == "is_null":
        kind = "bool"
    return Filter(column, operator, _value(key, kind, value, read))


def _read_value(kind: str, value: Any) -> Any:
    return TYPES[kind].read(value)


def _value(name: str, kind: str, value: Any, read: Read) -> Any:
    try:
        return read(kind, value)
    except ValueError as err:
        raise BadRequest(f"{name} {err}") from None


# -- as SQL ----------------------------------------------------------------------------------------


def order_of(resource: AnyResource, query: ListQuery) -> Order:
    """Return the sort keys up to the primary key, which makes the order total.

    By default the best match of a search is first, else the newest row.
    """
    sorts = query.sorts
    if query.q and not sorts:
        sorts = (Sort(RANK, descending=True),)
    for n, sort in enumerate(sorts, 1):
        if sort.column is resource.key:
            return sorts[:n]
    descending = not sorts or sorts[-1].descending
    return (*sorts, Sort(resource.key, descending))


def statement(
    resource: AnyResource, query: ListQuery, at: Position | None = None, is_large: bool = False
) -> tuple[str, Params]:
    """Return the SQL of a list and its parameters, without forge_tenant.

    is_large: the table has so many rows that the values of the query decide about its plan.

    The result has the resource's columns, the rank if it is a sort key, and the total if the query
    has a page or is counted. It has one row more than the limit if there is another page.
    """
    params: Params = {}
    where = conditions(resource, query, params)
    order = order_of(resource, query)
    columns, _, source = resource.select.partition("\nfrom ")
    is_ranked = order[0].column is RANK
    if is_ranked:
        columns += f", {RANKED} as forge_rank"
    if query.page or query.counted:
        total = _count_of(resource, query, where, MAX_COUNT + 1)
        columns += f", ({total}) as forge_total"
    # PERF: for a parameter as limit, the planner assumes a tenth of the table, and plans again at
    # each call (benchmarks/http, list). SAFETY: `:d` raises ValueError unless it is an int.
    paging = f"\nlimit {query.limit + 1:d}"
    if is_large:
        paging += db.PLAN_ANEW
    page = query.page or 1
    if page > 1:
        params["forge_offset"] = (page - 1) * query.limit
        paging += " offset %(forge_offset)s"
    last_row = page * query.limit
    matching = ""
    if is_ranked:
        # Ranking reads the text of each row: without a limit it takes seconds for a frequent word.
        rows = _some("*", source, where, MAX_RANKED, query)
        source = f"({rows}) forge_found"
        where = []
    elif is_large and last_row <= MAX_LIMIT and _is_walked(query, order):
        matching = _found(resource, query, at, last_row + 1, params)
        source = "forge_found"
        where = []
    select = f"{columns}\nfrom {source}"
    return matching + _ordered(select, where, order, at, paging, params), params


def _some(columns: str, source: str, where: list[str], limit: int, query: ListQuery) -> str:
    """Return the SQL of at most `limit` of the matching rows, in no order."""
    rows = f"select {columns} from {source}{where_clause(where)}"
    if query.q:
        # PERF: the planner assumes that words are frequent, so for a few rows it would read the
        # table. A materialized CTE is planned for all of its rows, by the index (make bigtables).
        rows = f"with forge_all as materialized (\n{rows}\n)\nselect {columns} from forge_all"
    return f"{rows}\nlimit {limit:d}"


def _is_walked(query: ListQuery, order: Order) -> bool:
    """Whether the conditions are first tried on rows that are read in the order of the list."""
    if query.deleted or not (query.filters or query.q):
        return False
    # The orders with an index, see `migrations.desired`.
    if len(order) > 2 or order[0].column.name in ("created_at", "updated_at"):
        return False
    return len({sort.descending for sort in order}) == 1


def _found(
    resource: AnyResource, query: ListQuery, at: Position | None, needed: int, params: Params
) -> str:
    """The common table expression forge_found: rows that match, with the first of the list.

    needed: the number of rows of the list that are needed.

    PERF: the planner assumes that matching rows are spread evenly, and that each word of a search
    is frequent: for rare values it would read the table in the order of the list (make bigtables).
    So only the first rows are read in it, and if too few of them match, all that match are sorted.
    """
    order = order_of(resource, query)
    walked = _reach(resource, query)
    matched = []
    filters = _filter_conditions(query, params)
    for f, condition in zip(query.filters, filters):
        # Conditions on the first sort key are a range of its index.
        in_range = f.column is order[0].column and f.frame == "{}"
        if in_range:
            walked.append(condition)
        else:
            matched.append(condition)
    matched += filters[len(query.filters) :]  # the search
    columns, _, source = resource.select.partition("\nfrom ")
    matches = " and ".join(matched) or "true"
    select = f"{columns}, {matches} as forge_matches\nfrom {source}"
    walk = _ordered(select, walked, order, at, f"\nlimit {MAX_WALKED}", params)
    is_short = f"(select count(*) from forge_near) < {needed:d}"
    where = [*walked, *matched]
    selects = []
    for _, rows in beyond(order, at, params):
        every_row = where_clause([*where, *rows, is_short])
        selects.append(f"{columns}, true\nfrom {source}{every_row}")
    every = "\nunion all\n".join(selects)
    return LISTS["found"].substitute(walk=walk, every=every, most=f"{needed:d}")


def _ordered(
    select: str, where: list[str], order: Order, at: Position | None, paging: str, params: Params
) -> str:
    """The SQL of rows in their order, from the position on."""
    backwards = at is not None and at.backwards
    selects = []
    for same, rows in beyond(order, at, params):
        clause = where_clause([*where, *rows])
        selects.append(f"{select}{clause}{order_by(order[same:], backwards)}{paging}")
    if len(selects) == 1:
        return selects[0]
    # PERF: each of these is a range of the index; joined by OR they would filter all of it.
    ranges = ")\nunion all\n(".join(selects)
    return f"select * from (\n({ranges})\n) forge_rows{order_by(order, backwards)}{paging}"


def plan(resource: AnyResource, query: ListQuery) -> tuple[str, Params]:
    """Return an EXPLAIN of all rows of a list, which has PostgreSQL's estimate of their number."""
    params: Params = {}
    where = where_clause(conditions(resource, query, params))
    return f"explain (format json) select from {resource.quoted_source}{where}", params


def count(resource: AnyResource, query: ListQuery, limit: int) -> tuple[str, Params]:
    """Return a statement that counts the rows of a list up to `limit`."""
    params: Params = {}
    where = conditions(resource, query, params)
    return _count_of(resource, query, where, limit), params


def _count_of(resource: AnyResource, query: ListQuery, where: list[str], limit: int) -> str:
    rows = _some("", resource.quoted_source, where, limit, query)
    return f"select count(*) from ({rows}) forge_counted"


def conditions(resource: AnyResource, query: ListQuery, params: Params) -> list[str]:
    """Return the conditions for the rows of a list as SQL, and add their values to `params`."""
    return _reach(resource, query) + _filter_conditions(query, params)


def _reach(resource: AnyResource, query: ListQuery) -> list[str]:
    """The conditions of every list: this tenant's rows, the deleted ones or all others."""
    where = scope(resource, "", live=not query.deleted)
    if query.deleted:
        where.append('"deleted_at" is not null')
    return where


def _filter_conditions(query: ListQuery, params: Params) -> list[str]:
    """The condition of each filter, then that of the search."""
    assert not query.related  # SAFETY: a condition that is not checked yet would be ignored
    where = []
    for n, f in enumerate(query.filters):
        condition = _condition(f, f"f{n}", params)
        where.append(f.frame.format(condition))
    if query.q:
        where.append(f'"forge_search" @@ {WORDS}')
        params["forge_q"] = query.q
        # While a user types, the last word is often incomplete. Quotes and operators end it.
        is_word = query.q.rpartition(" ")[2].isalnum()
        params["forge_prefix"] = ":*" if is_word else ""
    return where


def where_clause(conditions: Sequence[str]) -> str:
    """Return the where clause of conditions, "" without any."""
    if not conditions:
        return ""
    return "\nwhere " + " and ".join(conditions)


def _condition(f: Filter, param: str, params: Params) -> str:
    name = quote(f.column.name)
    if f.operator == "is_null":
        if f.value:
            return f"{name} is null"
        return f"{name} is not null"
    params[param] = f.value
    if f.column.type.endswith("[]"):
        entry_type = "int" if f.column.type == "int[]" else "text"
        return f"{name} @> array[%({param})s::{entry_type}]"
    if f.operator == "contains":
        escaped = f.value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        params[param] = f"%{escaped}%"
    return f"{name} {OPERATORS[f.operator]} (%({param})s)"
