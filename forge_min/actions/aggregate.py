"""Aggregates: counts, sums and other values of groups of rows.

The rows are those of a list with the same filters: of this tenant, not deleted. A name of a client
only chooses one of those that aggregatable columns offer; values are parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from ..errors import BadRequest
from ..i18n import text
from ..lazy import lazy_pattern
from ..resources import table
from . import query as queries
from .base import load_frames
from .order import Params
from .query import ListQuery, join
from .resource import AnyResource, Column, quote

MAX_GROUPS = 1000
_SQL = load_frames("aggregates.sql")
_FUNCTIONS = table("forge_min", "aggregates.toml")
# Not posixrules, right/UTC and the like, which PostgreSQL may not know.
_ZONE = lazy_pattern(r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")


@dataclass(frozen=True, slots=True)
class AggregateQuery:
    """A query for an aggregate. Names are checked when it runs.

    rows: the filters and the search; its order and position are ignored.
    group: "ward_id" or "month(admitted_at)"; one result for all rows without any. Null is a group.
        Weeks begin on Monday (ISO 8601).
    measures: "count", and "sum(cost)" or avg, min or max of it.
    sort: names of `group` and `measures`, "-" for descending; at last by `group`.
    zone: the IANA time zone in which the periods of a datetime begin.
    """

    rows: ListQuery = ListQuery()
    group: Sequence[str] = ()
    measures: Sequence[str] = ("count",)
    sort: Sequence[str] = ()
    zone: str = "UTC"

    @classmethod
    def parse(
        cls, resource: AnyResource, params: queries.QueryString, max_conditions: int
    ) -> AggregateQuery:
        """Read a decoded query string: group, measure, sort, zone, q and the filters of a list.

        A filter by a field with one of these names has an operator: zone[eq].

        Raises BadRequest as `ListQuery.parse`.
        """
        group = queries.names_in(params, "group")
        measures = queries.names_in(params, "measure") or ("count",)
        sort = queries.names_in(params, "sort")
        zone = queries.one_of(params, "zone") or "UTC"
        others = dict(params)
        for name in ("group", "measure", "sort", "zone"):  # a list lacks or reads them otherwise
            others.pop(name, None)
        for name in queries.CONTROL.intersection(others) - {"q"}:
            raise BadRequest(text("{name} is not possible here", name=name))
        rows = ListQuery.parse(resource, others, max_conditions=max_conditions)
        return cls(rows, group, measures, sort, zone)


def statement(resource: AnyResource, query: AggregateQuery) -> tuple[str, Params]:
    """Return the SQL of an aggregate and its parameters, without forge_tenant.

    The result has a column k1, k2, … for each group key and measure, and one group more than
    MAX_GROUPS if there are more. Raises BadRequest for an unknown name or time zone.
    """
    _check_zone(query.zone)
    columns = queries.visible(resource, lambda column: column.aggregatable).values()
    keys, measures = _terms(columns)
    for name in query.group:
        measures.pop(name, None)
    terms = _choose(query.group, keys) + _choose(query.measures, measures)
    numbers = {name: f"{n}" for n, name in enumerate([*query.group, *query.measures], 1)}
    descending = {f"-{name}": f"{number} desc" for name, number in numbers.items()}
    group = [numbers[name] for name in query.group]
    order = _choose(query.sort, numbers | descending) + group
    params = {"forge_zone": query.zone}
    where = queries.conditions(resource, query.rows, params)
    sql = _SQL["groups"].substitute(
        terms=", ".join(f"{term} as k{n}" for n, term in enumerate(terms, 1)),
        source=resource.quoted_source,
        where=queries.where_clause(where),
        keys=", ".join(group),
        order=", ".join(order) or "1",
        limit=MAX_GROUPS + 1,
    )
    return sql, params


def _terms(columns: Iterable[Column]) -> tuple[dict[str, str], dict[str, str]]:
    """The SQL of each group key, and of each measure, by name."""
    keys = {column.name: quote(column.name) for column in columns}
    measures = {"count": "count(*)"}
    for column in columns:
        name = quote(column.name)
        type = column.type
        for period in _FUNCTIONS["periods"].get(type, ()):
            keys[f"{period}({column.name})"] = _SQL[type].substitute(name=name, period=period)
        for function in _FUNCTIONS["measures"].get(type, ()):
            value = name
            if type == "float" and function in ("sum", "avg"):
                # As numbers of PostgreSQL with any exponent, because a double may overflow.
                value = f"{name}::text::numeric"
            measures[f"{function}({column.name})"] = f"{function}({value})"
    return keys, measures


def _choose(names: Iterable[str], terms: dict[str, str]) -> list[str]:
    """The SQL of the names, each at most once."""
    chosen = []
    for name in names:
        if name not in terms:
            message = text("not possible here: {name}; allowed: {all}", name=name, all=join(terms))
            raise BadRequest(message)
        chosen.append(terms.pop(name))
    return chosen


def _check_zone(zone: str) -> None:
    with suppress(KeyError, ValueError, OSError):  # not found, or a folder of zones
        if _ZONE.fullmatch(zone) and ZoneInfo(zone):
            return
    raise BadRequest(text("{zone} is not a time zone; one is Europe/Berlin", zone=zone[:100]))
