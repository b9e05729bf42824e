"""Lists: filters, sorting, cursors and totals, compared with what Python says of the same rows."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from forge_min import db
from forge_min.actions import ListQuery
from forge_min.auth import Identity, as_identity
from forge_min.errors import BadRequest
from forge_min.testing import TestDatabase

from bookshop import BOOKS, NORTH, SOUTH, Bookshop
from round_trips import counting_proxy

pytestmark = pytest.mark.db


@pytest.fixture
def airports(example: Any) -> Any:
    """120 airports, some without city and iata, many with the same city."""
    chance = random.Random(7)
    country = example.country()
    items = [
        {
            "icao": f"{n:04}",
            "iata": f"{n:03}" if n % 3 else None,
            "name": f"name {n}",
            "city": chance.choice(["Oslo", "Rome", "Bonn", None, "100%_\\x"]),
            "country_id": str(country.id),
            "latitude": str(chance.randint(-90, 90)),
            "longitude": "1",
        }
        for n in range(120)
    ]
    example["airports"].create_many(items)
    return example["airports"]


def everything(actions: Any) -> list[Any]:
    found = []
    cursor = None
    while True:
        query = {"limit": ["100"]} | ({"cursor": [cursor]} if cursor else {})
        page = actions.list(ListQuery.parse(actions.resource, query))
        found += page.rows
        cursor = page.next
        if cursor is None:
            return found


@pytest.mark.parametrize(
    "sort", ["icao", "-icao", "city", "-city", "city,-icao", "-iata,city", "id"]
)
@pytest.mark.parametrize("limit", [7, 50])
def test_pages_by_cursor_are_the_whole_list_once_and_back(
    airports: Any, sort: str, limit: int
) -> None:
    whole = everything(airports)
    forward: list[Any] = []
    pages: list[Any] = []
    query = {"sort": [sort], "limit": [str(limit)]}
    cursor: str | None = None
    while True:
        page = airports.list(
            ListQuery.parse(airports.resource, query | ({"cursor": [cursor]} if cursor else {}))
        )
        forward += page.rows
        pages.append(page)
        cursor = page.next
        if cursor is None:
            break
    assert len(forward) == 120 and {r.id for r in forward} == {r.id for r in whole}
    assert [r.id for r in forward] == [r.id for r in _sorted(whole, sort)]
    assert pages[0].prev is None and pages[-1].next is None
    backward = list(pages[-1].rows)
    cursor = pages[-1].prev
    while cursor is not None:
        page = airports.list(ListQuery.parse(airports.resource, query | {"cursor": [cursor]}))
        backward = page.rows + backward
        cursor = page.prev
    assert [r.id for r in backward] == [r.id for r in forward]


def _sorted(rows: list[Any], sort: str) -> list[Any]:
    keys = sort.split(",")
    if "id" not in keys:
        keys.append("-id" if keys[-1].startswith("-") else "id")
    for key in reversed(keys):
        name, down = key.removeprefix("-"), key.startswith("-")
        rows = sorted(
            rows,
            key=lambda r: (getattr(r, name) is None, getattr(r, name) or ""),
            reverse=down,
        )
    return rows


def test_a_row_that_is_inserted_between_two_pages_neither_hides_nor_doubles_another(
    example: Any, airports: Any, listing: Any
) -> None:
    first = listing(airports, sort="icao", limit="10")
    example.airport("0", example.country("FR", "France"))
    second = listing(airports, sort="icao", limit="10", cursor=first.next)
    assert [r.icao for r in second.rows] == [f"{n:04}" for n in range(10, 20)]


@pytest.mark.parametrize(
    ("query", "test"),
    [
        ({"city": "Rome"}, lambda r: r.city == "Rome"),
        ({"city[ne]": "Rome"}, lambda r: r.city is not None and r.city != "Rome"),
        ({"city[in]": "Rome,Oslo"}, lambda r: r.city in ("Rome", "Oslo")),
        ({"city[is_null]": "true"}, lambda r: r.city is None),
        ({"city[contains]": "%_\\"}, lambda r: r.city == "100%_\\x"),
        ({"city[contains]": "OM"}, lambda r: r.city == "Rome"),
        ({"icao[gte]": "0100"}, lambda r: r.icao >= "0100"),
        ({"icao[gt]": "0100", "icao[lt]": "0105"}, lambda r: "0100" < r.icao < "0105"),
        ({"iata[is_null]": "false", "city": "Bonn"}, lambda r: r.iata and r.city == "Bonn"),
    ],
)
def test_filters_find_what_python_finds(airports: Any, listing: Any, query: Any, test: Any) -> None:
    expected = {r.icao for r in everything(airports) if test(r)}
    found = listing(airports, limit="100", **query)
    assert {r.icao for r in found.rows} == expected or len(expected) > 100
    page = listing(airports, page="1", per_page="5", **query)
    assert page.total == len(expected)


def test_a_list_of_values_may_hold_commas_where_it_is_given_one_by_one() -> None:
    query = ListQuery.parse(BOOKS, {"title[in]": ["a,b", "c"], "pages": ["1", "2"]})
    assert [(f.column.name, f.value) for f in query.filters] == [
        ("title", ["a,b", "c"]), ("pages", 1), ("pages", 2),
    ]  # fmt: skip
    with pytest.raises(BadRequest, match="nope"):
        ListQuery.parse(BOOKS, {"nope[in]": ["a", "b"]})


def test_pages_by_number_have_a_total_also_beyond_the_end(airports: Any, listing: Any) -> None:
    page = listing(airports, page="2", per_page="50", sort="icao")
    assert (page.total, page.rows[0].icao, len(page.rows)) == (120, "0050", 50)
    assert listing(airports, page="3", per_page="50").total == 120
    for query in ({"page": "201", "per_page": "50"}, {"page": "101", "per_page": "100"}):
        with pytest.raises(BadRequest, match="cursor"):
            listing(airports, **query)
    beyond = listing(airports, page="9", per_page="50")
    assert (beyond.rows, beyond.total) == ([], 120)


def test_a_total_of_more_rows_than_are_counted_is_an_estimate(
    airports: Any, listing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not listing(airports, page="1").is_estimate
    monkeypatch.setattr("forge_min.actions.query.MAX_COUNT", 50)
    page = listing(airports, page="1", per_page="20")
    assert page.is_estimate and page.total > 50


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "-1"},
        {"limit": "1e3"},
        {"limit": "٣"},
        {"sort": "latitude"},
        {"sort": "icao,icao"},
        {"sort": ""},
        {"sort": "icao;drop table airports"},
        {"latitude": "1"},
        {"wings": "2"},
        {"city[like]": "x"},
        {"city[": "x"},
        {"country_id": "42"},
        {"created_at[gte]": "yesterday"},
        {"id[contains]": "a"},
        {"iata[is_null]": "maybe"},
        {"city": "a\x00b"},
        {"page": "0"},
        {"page": "1", "cursor": "x"},
        {"cursor": "x"},
        {"cursor": "!!!"},
        {"cursor": "W10"},
        {"cursor": "bnVsbA"},
        {"cursor": "WyItaWQiLDAsWyI0MiJdXQ"},
        {"cursor": "A" * 5000},
    ],
)
def test_what_a_list_cannot_mean_is_refused_before_the_database(
    example: Any, listing: Any, query: Any
) -> None:
    with pytest.raises(BadRequest):
        listing(example["airports"], **query)


def test_a_cursor_of_another_sort_is_refused(airports: Any, listing: Any) -> None:
    first = listing(airports, sort="icao", limit="5")
    with pytest.raises(BadRequest):
        listing(airports, sort="city", limit="5", cursor=first.next)


def test_a_list_with_filter_sort_and_total_is_one_round_trip(
    fresh_database: TestDatabase, shop: Bookshop
) -> None:
    shop.add("books", *({"id": UUID(int=n), "title": f"t{n}"} for n in range(40)))
    shop.add("languages", {"code": "de"}, {"code": "en"}, tenant=None)
    with counting_proxy(fresh_database.app_url) as proxy, as_identity(NORTH):
        database = db.Database(proxy.url)
        for topic, query in (
            ("books", {"title[gte]": ["t"], "sort": ["-title"], "page": ["1"]}),
            ("books", {"title[gte]": ["t"], "sort": ["-price,title"], "limit": ["25"]}),
            ("languages", {"code[gte]": ["a"], "sort": ["-code"], "page": ["1"]}),
        ):
            actions = type(shop[topic])(database)
            actions.registry = shop
            asked = ListQuery.parse(actions.resource, query)
            actions.list(asked)
            with proxy.counted() as trips:
                assert actions.list(asked).rows
            assert trips() == 1
            token = actions.list(ListQuery.parse(actions.resource, {"limit": ["1"]})).next
            with proxy.counted() as trips:
                assert actions.list(ListQuery(cursor=token)).rows
            assert trips() == 1
        database.close()


@pytest.mark.parametrize("is_large", [False, True])
def test_a_list_that_comes_often_is_planned_once_unless_its_table_is_large(
    shop: Bookshop, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    """PostgreSQL keeps a plan when it is about as cheap as one for the values of each call.

    That plan would read a large table for a rare value.
    """
    monkeypatch.setattr("forge_min.actions.reader.LARGE", 5_000 if is_large else 5_001)
    shop.owner.execute(
        "insert into books (id, tenant_id, title)"
        " select lpad(to_hex(n), 32, '0')::uuid, %s, 't' from generate_series(1, 5000) n",
        [NORTH.tenant],
    )
    shop.owner.execute("analyze books")
    books = shop["books"]
    conn = books.connection()
    with as_identity(NORTH), db.transaction(conn):
        for asked in ({"limit": ["25"]}, {"page": ["1"]}):
            query = ListQuery.parse(books.resource, {"title": ["t"], **asked})
            for _ in range(30):
                assert len(books.list(query, conn=conn).rows) == 25
        plans = conn.execute(
            "select generic_plans, custom_plans from pg_prepared_statements"
            " where statement like '%%\"title\" =%%'"
        ).fetchall()
    assert bool(plans) != is_large
    assert all(custom <= 5 and generic >= 10 for generic, custom in plans), plans


def test_the_lists_of_a_large_table_are_those_of_a_small_one(
    shop: Bookshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some find their rows among the first of their order, others among all that match."""
    chance = random.Random(9)
    for n in range(1, 90):
        book = {"id": UUID(int=n), "title": chance.choice("abc"), "pages": chance.randrange(4)}
        book |= {"price": chance.choice([None, 1, 2]), "blurb": chance.choice(["red", "blue"])}
        shop.add("books", book | {"deleted_at": chance.choice([None, None, "2026-01-01Z"])})
    books = shop["books"]
    monkeypatch.setattr("forge_min.actions.query.MAX_WALKED", 9)

    def pages(is_large: bool, asked: dict[str, list[str]], **options: Any) -> list[list[Any]]:
        monkeypatch.setattr("forge_min.actions.reader.LARGE", -1 if is_large else 1e9)
        books._size_due = 0.0
        query = replace(ListQuery.parse(books.resource, asked), **options)
        found = [books.list(query)]
        while found[-1].next:
            found.append(books.list(replace(query, cursor=found[-1].next)))
        back = books.list(replace(query, cursor="last"))
        found.append(back)
        while back.prev:
            back = books.list(replace(query, cursor=back.prev))
            found.append(back)
        return [[row.id for row in page.rows] + [page.total] for page in found]

    for sort in ("", "-id", "title", "-price", "price", "price,-title"):
        for asked in ({"title": "a"}, {"title[in]": "a,b", "pages": "2"}, {"price[gte]": "2"},
                      {"q": "red"}, {"q": "nothing"}, {"q": "blue", "title[ne]": "c"}):  # fmt: skip
            query = {name: [value] for name, value in asked.items()} | {"limit": ["3"]}
            query |= {"sort": [sort]} if sort else {}
            for options in ({}, {"counted": True}, {"deleted": True}):
                with as_identity(NORTH):
                    assert pages(True, query, **options) == pages(False, query, **options)


def test_an_empty_list_is_read_once(fresh_database: TestDatabase, shop: Bookshop) -> None:
    with counting_proxy(fresh_database.app_url) as proxy, as_identity(NORTH):
        database = db.Database(proxy.url)
        books = type(shop["books"])(database)
        books.registry = shop
        query = ListQuery.parse(books.resource, {"title": ["none"]})
        books.list(query)
        with proxy.counted() as trips:
            assert books.list(query).rows == []
        assert trips() == 1
        database.close()


# -- the same from Python values -------------------------------------------------------------------


@pytest.fixture
def books(shop: Bookshop) -> Any:
    """Three books of North, of which one is deleted, and one of South."""
    printed = datetime(2026, 11, 25, 8, 30, tzinfo=UTC)
    shop.add(
        "books",
        {"id": UUID(int=1), "title": "a,b", "price": 5, "pages": 7, "printed": printed},
        {"id": UUID(int=2), "title": "c", "sold": True, "author_id": UUID(int=9)},
        {"id": UUID(int=3), "title": "d", "price": 5, "deleted_at": printed},
    )
    shop.add("books", {"id": UUID(int=4), "title": "a,b", "price": 5}, tenant=SOUTH)
    return shop["books"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [1, 2]),
        (None, [1, 2]),
        ({"title": "a,b"}, [1]),
        ({"title[in]": ["a,b", "x"]}, [1]),
        ({"title[in]": "c,d"}, [2]),
        ({"title[in]": []}, []),
        ({"price[gte]": Decimal("4.5")}, [1]),
        ({"price": 5, "pages[lt]": 8}, [1]),
        ({"price": None}, [2]),
        ({"price[eq]": None}, [2]),
        ({"price[is_null]": False}, [1]),
        ({"sold": True}, [2]),
        ({"sold[ne]": True}, []),
        ({"printed": datetime(2026, 11, 25, 8, 30, tzinfo=UTC)}, [1]),
        ({"printed": "2026-11-25T10:30:00+02:00"}, [1]),
        ({"author_id": UUID(int=9)}, [2]),
        ({"id[in]": (UUID(int=n) for n in range(9))}, [1, 2]),
    ],
)
def test_filters_of_python_values(books: Any, filters: Any, found: list[int]) -> None:
    with as_identity(NORTH):
        query = ListQuery.of(BOOKS, filters, sort="id", limit=10)
        assert [row.id.int for row in books.list(query).rows] == found
        paged = books.list(ListQuery.of(BOOKS, filters=None, page=1))
        assert paged.total == 2


@pytest.mark.parametrize(
    ("filters", "options"),
    [
        ({"blurb": "x"}, {}),
        ({"price": "cheap"}, {}),
        ({"price": True}, {}),
        ({"pages": 1 << 31}, {}),
        ({"pages": "1"}, {}),
        ({"price[gte]": None}, {}),
        ({"title[in]": [1]}, {}),
        ({"pages[contains]": "1"}, {}),
        ({}, {"limit": 0}),
        ({}, {"limit": 101}),
        ({}, {"page": 0}),
        ({}, {"sort": "blurb"}),
        ({}, {"sort": "id,-id"}),
    ],
)
def test_what_python_cannot_mean_is_refused(filters: Any, options: Any) -> None:
    with pytest.raises(BadRequest):
        ListQuery.of(BOOKS, filters, **options)


def test_columns_that_are_hidden_are_no_filters_and_are_not_named() -> None:
    staff = Identity(user="sue", roles=frozenset({"staff"}))
    with as_identity(staff):
        ListQuery.of(BOOKS, {"editor_id": UUID(int=1)})
    for who in (NORTH, Identity()):
        with as_identity(who), pytest.raises(BadRequest) as caught:
            ListQuery.of(BOOKS, {"editor_id": UUID(int=1)})
        allowed = caught.value.message.partition(";")[2]
        assert "author_id" in allowed and "editor_id" not in allowed
    with as_identity(Identity(user="system", system=True)):
        ListQuery.parse(BOOKS, {"editor_id": [str(UUID(int=1))]})


def test_hidden_columns_are_none_in_rows_and_absent_in_json(shop: Bookshop) -> None:
    shop.add("books", {"id": UUID(int=1), "title": "t", "cost": 3})
    staff = Identity(user="sue", roles=frozenset({"staff"}), tenant=NORTH.tenant)
    for who, cost in ((NORTH, None), (staff, Decimal(3))):
        with as_identity(who):
            books = shop["books"]
            (listed,) = books.list().rows
            (paged,) = books.list(ListQuery(page=1)).rows
            (streamed,) = books.stream()
            for row in (listed, paged, streamed, books.get(UUID(int=1))):
                assert row.cost == cost
            assert ("cost" in books.to_json(listed)) is (cost is not None)
