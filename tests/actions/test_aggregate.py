"""Aggregates: what PostgreSQL computes of the same rows in a statement written by hand."""

from __future__ import annotations

import zoneinfo
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from forge_min.actions import AggregateQuery, Limits, ListQuery
from forge_min.actions.aggregate import MAX_GROUPS, statement
from forge_min.auth import Identity, as_identity
from forge_min.errors import BadRequest, Forbidden, NotFound, Unauthenticated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookshop import BOOKS, NORTH, SOUTH, Bookshop

pytestmark = pytest.mark.db

NOBODY = Identity()
BOSS = Identity(user="ann", tenant=NORTH.tenant, roles=frozenset({"boss"}))
STAFF = Identity(user="ann", tenant=NORTH.tenant, roles=frozenset({"staff"}))
AUTHORS = [None, UUID(int=11), UUID(int=12)]
PERIODS = ("day", "week", "month", "year")
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati", "Asia/Kathmandu")
FORMS = {"day": "YYYY-MM-DD", "week": 'IYYY-"W"IW', "month": "YYYY-MM-01", "year": "YYYY-01-01"}
KEYS = ["title", "author_id", "sold", "pages", "printed", *(f"{p}(printed)" for p in PERIODS)]
MEASURES = ["count", "sum(price)", "avg(price)", "min(price)", "sum(pages)", "avg(pages)"]
MEASURES += ["max(pages)", "min(printed)", "max(printed)"]
FILTERS: list[tuple[dict[str, Any], str]] = [
    ({}, "true"),
    ({"sold": True}, "sold"),
    ({"author_id": None}, "author_id is null"),
    ({"price[gte]": Decimal(0), "title[ne]": "b"}, "price >= 0 and title <> 'b'"),
]

moments = st.datetimes(datetime(1850, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
near = st.datetimes(  # around the change of a year and of summer time
    datetime(2025, 12, 30), datetime(2026, 1, 2), timezones=st.just(UTC)
) | st.datetimes(datetime(2026, 3, 28, 22), datetime(2026, 3, 29, 4), timezones=st.just(UTC))
books = st.fixed_dictionaries(
    {
        "title": st.sampled_from(["a", "b", "ß", ""]),
        "price": st.none() | st.decimals(-999, 999, places=2, allow_nan=False),
        "pages": st.integers(-(2**31), 2**31 - 1) | st.just(7),
        "printed": st.none() | near | moments,
        "sold": st.sampled_from([None, True, False]),
        "author_id": st.sampled_from(AUTHORS),
        "deleted_at": st.sampled_from([None, None, None, datetime(2026, 1, 1, tzinfo=UTC)]),
        "tenant_id": st.sampled_from([NORTH.tenant, NORTH.tenant, SOUTH.tenant]),
    }
)


def by_hand(name: str, zone: str) -> str:
    """The SQL of a group key; a period as text."""
    function, _, column = name.rstrip(")").rpartition("(")
    return f"to_char({column} at time zone '{zone}', '{FORMS[function]}')" if function else name


def spelled(key: str, value: Any) -> Any:
    """A key of a result as `by_hand` returns it."""
    if isinstance(value, date) and not isinstance(value, datetime):
        form = "%G-W%V" if key.startswith("week(") else "%Y-%m-%d"
        return value.strftime(form)
    return value


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(books, max_size=12),
    group=st.lists(st.sampled_from(KEYS), max_size=3, unique=True),
    measures=st.lists(st.sampled_from(MEASURES), min_size=1, max_size=4, unique=True),
    chosen=st.sampled_from(FILTERS),
    zone=st.sampled_from(ZONES),
    descending=st.booleans(),
)
def test_an_aggregate_is_what_sql_says_of_the_tenants_rows(
    shop: Bookshop,
    rows: list[dict[str, Any]],
    group: list[str],
    measures: list[str],
    chosen: tuple[dict[str, Any], str],
    zone: str,
    descending: bool,
) -> None:
    shop.owner.execute("truncate books")
    shop.add("books", *({"id": uuid4(), **row} for row in rows), tenant=None)
    filters, condition = chosen
    keys = [by_hand(name, zone) for name in group]
    functions = ["count(*)" if name == "count" else name for name in measures]
    grouped = f"group by {', '.join(keys)}" if keys else ""
    expected = shop.owner.execute(
        f"select {', '.join(keys + functions)} from books where {condition}"
        f" and tenant_id = '{NORTH.tenant}' and deleted_at is null {grouped}"
    ).fetchall()
    sort = [f"{'-' * descending}{measures[0]}"]
    with as_identity(NORTH):
        where = ListQuery.of(BOOKS, filters)
        found = shop["books"].aggregate(AggregateQuery(where, group, measures, sort, zone))
        plain = shop["books"].aggregate(AggregateQuery(where, group, measures, zone=zone))
    values = [tuple(spelled(key, value) for key, value in item.items()) for item in found]
    assert sorted(values, key=repr) == sorted(expected, key=repr)
    assert [[*item] for item in found] == [[*group, *measures]] * len(found)
    assert sorted(map(repr, plain)) == sorted(map(repr, found))
    first = [item[measures[0]] for item in found]
    present = [value for value in first if value is not None]
    assert present == sorted(present, reverse=descending)
    edge = first[: len(first) - len(present)] if descending else first[len(present) :]
    assert set(edge) <= {None}, "null is first in descending order, else last"
    for name in measures:
        if name == "sum(pages)":
            assert {type(item[name]) for item in found} <= {int, type(None)}


def ask(shop: Bookshop, params: dict[str, list[str]]) -> list[dict[str, Any]]:
    books = shop["books"]
    groups: list[dict[str, Any]] = books.aggregate(books.aggregate_query(params))
    return groups


def test_groups_are_sorted_by_their_keys_and_null_is_one(shop: Bookshop) -> None:
    for title, price in (("b", 1), ("a", 2), ("b", None), ("a", 4)):
        author = AUTHORS[1] if price else None
        shop.add("books", {"id": uuid4(), "title": title, "price": price, "author_id": author})
    with as_identity(NORTH):
        found = ask(shop, {"group": ["title,author_id"], "measure": ["count,sum(price)"]})
        total = ask(shop, {"title[eq]": ["nothing"]})
    assert found == [
        {"title": "a", "author_id": AUTHORS[1], "count": 2, "sum(price)": Decimal(6)},
        {"title": "b", "author_id": AUTHORS[1], "count": 1, "sum(price)": Decimal(1)},
        {"title": "b", "author_id": None, "count": 1, "sum(price)": None},
    ]
    assert total == [{"count": 0}], "without a group one result, also of no rows"


def test_a_group_without_any_value_is_one(shop: Bookshop) -> None:
    shop.add("books", {"id": uuid4(), "title": "a"})
    with as_identity(NORTH):
        query = AggregateQuery(ListQuery(), ("author_id",), ("max(price)",), ())
        assert shop["books"].aggregate(query) == [{"author_id": None, "max(price)": None}]


def test_a_moment_at_the_end_of_the_calendar_is_in_its_last_period(shop: Bookshop) -> None:
    for moment in ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "infinity"):
        shop.add("books", {"id": uuid4(), "title": "x", "printed": moment})
    with as_identity(NORTH):
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"):
            for period in PERIODS:
                key = f"{period}(printed)"
                found = shop["books"].aggregate(AggregateQuery(group=[key], zone=zone))
                assert sum(item["count"] for item in found) == 3
                assert all(item[key].year in (1, 9999) for item in found)


@pytest.mark.parametrize(
    "query",
    [
        {"group": ["editor_id"]},
        {"group": ["blurb"]},
        {"group": ["id"]},
        {"group": ["month(pages)"]},
        {"group": ["hour(printed)"]},
        {"group": ["title,title"]},
        {"group": ["title,"]},
        {"group": ["title"], "measure": ["sum(title)"]},
        {"group": ["cost"]},
        {"measure": ["sum(cost)"]},
        {"measure": ["count(*)"]},
        {"measure": ["sum(price"]},
        {"measure": ['sum("price")']},
        {"measure": ["count", "sum(price)"]},
        {"group": ["title"], "sort": ["price"]},
        {"group": ["title"], "sort": ["title; drop table books"]},
        {"zone": ["Europe/Nowhere"]},
        {"zone": ["Europe"]},
        {"zone": ["../../etc/passwd"]},
        {"zone": ["'; select 1"]},
        {"zone": ["+02:00"]},
        {"zone": ["x\0"]},
        {"zone": ["posixrules"]},
        {"zone": ["right/UTC"]},
        {"limit": ["5"]},
        {"cursor": ["x"]},
        {"include": ["author"]},
        {"cost": ["5"]},
        {"editor_id[is_null]": ["true"]},
    ],
)
def test_what_is_not_declared_visible_and_known_is_refused(query: dict[str, list[str]]) -> None:
    with as_identity(NORTH), pytest.raises(BadRequest) as caught:
        statement(BOOKS, AggregateQuery.parse(BOOKS, query, 20))
    assert "staff" not in str(caught.value) and "visible" not in str(caught.value)
    if query in ({"group": ["cost"]}, {"measure": ["sum(cost)"]}):
        assert "sum(cost)" not in caught.value.message.partition("allowed")[2], "not even its name"
        with as_identity(STAFF):
            statement(BOOKS, AggregateQuery.parse(BOOKS, query, 20))


def test_more_groups_than_the_limit_are_an_error_and_not_a_part(shop: Bookshop) -> None:
    shop.owner.execute(
        "insert into books (id, tenant_id, title) select gen_random_uuid(), %s, n::text"
        " from generate_series(1, %s) n",
        (NORTH.tenant, MAX_GROUPS),
    )
    query = AggregateQuery(group=["title"])
    with as_identity(NORTH):
        assert len(shop["books"].aggregate(query)) == MAX_GROUPS
        shop.add("books", {"id": uuid4(), "title": "one more"})
        with pytest.raises(BadRequest, match="group by less") as caught:
            shop["books"].aggregate(query)
        assert caught.value.code == "F645"
        shop.owner.execute("delete from books")
        shop["books"].limits = Limits(response=10_000)
        shop.add("books", *({"id": uuid4(), "title": f"{n}" * 3000} for n in range(3)))
        assert len(shop["books"].aggregate(AggregateQuery(group=["sold"]))) == 1
        assert len(shop["books"].aggregate(query)) == 3
        shop.add("books", {"id": uuid4(), "title": "x" * 3000})
        with pytest.raises(BadRequest) as caught:
            shop["books"].aggregate(query)
        assert caught.value.code == "F645"


def test_a_search_applies(shop: Bookshop) -> None:
    shop.add("books", {"id": uuid4(), "title": "red sea"}, {"id": uuid4(), "title": "blue sea"})
    with as_identity(NORTH):
        assert ask(shop, {"q": ["red"], "measure": ["count"]}) == [{"count": 1}]
        assert ask(shop, {"q": ["sea"], "title[ne]": ["x"]}) == [{"count": 2}]


def test_a_report_has_its_own_permission_and_its_readers_tenant(shop: Bookshop) -> None:
    def book(sold: bool, **more: Any) -> dict[str, Any]:
        printed = datetime(2025, 12, 31, 23, 30, tzinfo=timezone(timedelta(0)))
        return {"id": uuid4(), "title": "x", "price": 2, "sold": sold, "printed": printed, **more}

    shop.add("books", book(True), book(True), book(False), book(True, deleted_at=datetime.now(UTC)))
    shop.add("books", book(True), tenant=SOUTH)
    books = shop["books"]
    with as_identity(BOSS):
        for zone, year in (("UTC", 2025), ("Europe/Berlin", 2026)):
            assert books.report("sold", zone=zone) == [
                {"author_id": None, "year(printed)": date(year, 1, 1), "sum(price)": 4, "count": 2}
            ]
    with as_identity(NORTH):
        assert books.report("all") == [{"title": "x", "count": 3}], "by the permission to read"
        with pytest.raises(Forbidden):
            books.report("sold")
        with pytest.raises(NotFound):
            books.report("unknown")
    for report in ("sold", "all"):
        with as_identity(NOBODY), pytest.raises(Unauthenticated):
            books.report(report)
    with as_identity(NOBODY), pytest.raises(Unauthenticated):
        books.aggregate(AggregateQuery())
    with as_identity(Identity(user="x", roles=frozenset({"boss"}))), pytest.raises(Forbidden):
        books.report("sold")


def test_postgresql_knows_each_zone_that_is_accepted(shop: Bookshop) -> None:
    known = {name for (name,) in shop.owner.execute("select name from pg_timezone_names")}
    accepted = set()
    for zone in zoneinfo.available_timezones():
        with suppress(BadRequest), as_identity(NORTH):
            statement(BOOKS, AggregateQuery(zone=zone))
            accepted.add(zone)
    assert accepted - known == set() and len(accepted) > 400
