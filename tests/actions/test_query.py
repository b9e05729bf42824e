"""Lists: filters, sorting, cursors and totals, compared with what Python says of the same rows."""

from __future__ import annotations

import random
from typing import Any

import pytest
from forge_min.actions import ListQuery
from forge_min.errors import BadRequest

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


def test_pages_by_number_have_a_total_also_beyond_the_end(airports: Any, listing: Any) -> None:
    page = listing(airports, page="2", per_page="50", sort="icao")
    assert (page.total, page.rows[0].icao, len(page.rows)) == (120, "0050", 50)
    assert listing(airports, page="3", per_page="50").total == 120
    beyond = listing(airports, page="9", per_page="50")
    assert (beyond.rows, beyond.total) == ([], 120)


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


def test_a_list_is_one_round_trip(airports: Any, listing: Any) -> None:
    conn = airports._database.connection()
    seen: list[Any] = []
    execute = conn.execute
    conn.execute = lambda *a, **k: (seen.append(a[0]), execute(*a, **k))[1]
    listing(airports, city="Rome", sort="-icao", page="1", per_page="25")
    listing(airports, city="Rome", sort="-icao", limit="25")
    assert len(seen) == 2
