"""Lists of large tables that read many rows, and the index that each lacks.

Lists are only planned, not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from ... import actions, db
from ..finding import Finding, any_or_ok, new_finding
from ..site import Site
from .code import Declarations
from .queries import SQL, open_owner, read_only

# The planned cost of a page. With 1 and 2 million rows in memory, lists of a lower cost took up to
# 60 ms, most others 0.3 to 1.8 s: they read 20,000 rows and more.
COSTLY = 3_000
# Rows that fulfil a condition: to sort more of them takes over 50 ms (make bigtables).
MANY = 20_000


def check_lists(site: Site, declared: Declarations, conn: db.Connection) -> Iterator[Finding]:
    """Plan the lists of each large table: by each sort key, also with each condition.

    A tenant's list is that of the tenant with most rows, which only the owner can read.
    """
    resources = {resource.table: resource for resource in declared.resources}
    wrong = []
    with ExitStack() as stack:
        owner = open_owner(site, stack) or conn
        stack.enter_context(read_only(owner))
        large = db.run(owner, SQL["large"], {"tables": [*resources]})
        for table, tenant in large:
            indexes = dict.fromkeys(_missing_indexes(owner, resources[table], tenant))
            if indexes:
                message = f"{table} lacks {', '.join(indexes)}"
                wrong.append(new_finding("D515", "warning", message))
    yield from any_or_ok("D515", wrong, f"large tables checked: {len(large)}")


def _missing_indexes(
    conn: db.Connection, resource: actions.Resource[Any], tenant: str
) -> Iterator[str]:
    """Yield the index of each costly list; if a sort key lacks one, not those of conditions."""
    db.run(conn, SQL["tenant"], {"tenant": tenant})
    indexes = db.run(conn, actions.INDEXES, {"table": resource.table})

    def missing(sort: actions.Sort, *filters: actions.Filter) -> str:
        shape = actions.shape_of(resource, actions.ListQuery(filters, (sort,)))
        return shape.missing_index(indexes)

    rows = _planned(conn, actions.explain_rows(resource, (), tenant))["Plan Rows"]
    # Too few are among the first rows of an order, and too many match to be sorted.
    most = rows * actions.DEFAULT_LIMIT / actions.MAX_WALKED
    slow = []
    for column in resource.columns:
        if column.filterable and not column.type.endswith("[]"):
            equal = actions.Filter(column, "eq", None)
            plan = _planned(conn, actions.explain_rows(resource, (equal,), tenant))
            if MANY < plan["Plan Rows"] < most:
                slow.append(equal)
    for column in resource.columns:
        if not column.sortable and column is not resource.key:
            continue
        sort = actions.Sort(column)
        page = actions.explain_page(resource, sort, tenant)
        index = missing(sort)
        if index and _planned(conn, page)["Total Cost"] >= COSTLY:
            yield index
            continue
        for equal in slow:
            index = missing(sort, equal)
            if index:
                yield index


def _planned(conn: db.Connection, explain: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    ((plan,),) = db.run(conn, *explain)
    return dict(plan[0]["Plan"])
