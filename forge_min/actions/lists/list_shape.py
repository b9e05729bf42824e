"""The shape of a list: the columns that an index needs to serve it, and its `schema.index` line.

Values play no part in it, so all pages of a list have one shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ... import db
from ..order import Params
from ..query import Filter, ListQuery, order_of, plan, statement
from ..resource import AnyResource, Sort, quote
from ..statement import sql_type

INDEXES = db.load_sql(__package__, "indexes.sql")["indexes"]


class ListShape(NamedTuple):
    """The columns of an index that serves a list exactly: first those of `equal`.

    equal: columns with one value.
    order: columns by which rows are sorted, or of a range; "-" before a descending one.
    """

    equal: tuple[str, ...]
    order: tuple[str, ...]

    def missing_index(self, indexes: Sequence[tuple[Any, ...]]) -> str:
        """Return the `schema.index` for this shape; "" if one of the indexes serves it.

        indexes: the rows of INDEXES.
        """
        at = len(self.equal)
        end = at + len(self.order)
        backwards = tuple(name[1:] if name[0] == "-" else f"-{name}" for name in self.order)
        for (columns,) in indexes:
            is_equal = {name.removeprefix("-") for name in columns[:at]} == set(self.equal)
            if is_equal and tuple(columns[at:end]) in (self.order, backwards):
                return ""
        return f"schema.index({', '.join(map(quote, (*self.equal, *self.order)))})"


def shape_of(resource: AnyResource, query: ListQuery) -> ListShape:
    """Return the shape of a list, which is empty if no `schema.index` would serve it.

    The order without `sort` plays no part: the planner reads few rows by the index of a condition,
    or many by the key.
    """
    if query.q or query.deleted:  # needs an index of another kind
        return ListShape((), ())
    equal = []
    ranges = []
    for f in query.filters:
        if f.frame != "{}":
            continue
        if f.operator == "contains" or f.column.type.endswith("[]"):
            return ListShape((), ())
        if f.operator in ("gt", "gte", "lt", "lte"):
            ranges.append(Sort(f.column))
        elif _has_one_value(f) and f.column.name not in equal:
            equal.append(f.column.name)
    sorts = order_of(resource, query) if query.sorts else ranges[:1]
    order = []
    for sort in sorts:
        column = sort.column
        if column.name not in equal:
            order.append(sort.spelled)
        if column.unique and not column.nullable:
            break
    return ListShape(tuple(equal), tuple(order))


def _has_one_value(f: Filter) -> bool:
    if f.operator == "in":
        return len(f.value) == 1
    if f.operator == "is_null":
        return bool(f.value)
    return f.operator == "eq"


def explain_page(resource: AnyResource, sort: Sort, tenant: str) -> tuple[str, Params]:
    """Return an EXPLAIN of a tenant's list by this sort key, and its parameters."""
    sql, params = statement(resource, ListQuery(sorts=(sort,)))
    return f"explain (format json) {sql}", {**params, "forge_tenant": tenant}


def explain_rows(
    resource: AnyResource, filters: tuple[Filter, ...], tenant: str
) -> tuple[str, Params]:
    """Return an EXPLAIN of a tenant's rows that fulfil conditions, and its parameters.

    The values are unknown: PostgreSQL assumes that each is as frequent as the average of its
    column.
    """
    sql, params = plan(resource, ListQuery(filters))
    for n, f in enumerate(filters):  # a literal null would match no row
        sql = sql.replace(f"%(f{n})s", f"select null::{sql_type(resource, f.column.name)}")
    return sql, {**params, "forge_tenant": tenant}
