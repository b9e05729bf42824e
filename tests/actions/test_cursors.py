"""Cursors: pages by keys are the whole list, whatever the order, the NULLs and the writers; and no
token but one of ours is taken.
"""

from __future__ import annotations

import base64
import random
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from forge_min.actions import ListQuery, reader
from forge_min.actions import query as listing
from forge_min.actions.lists import cursors
from forge_min.actions.order import Position
from forge_min.auth import as_identity
from forge_min.errors import BadRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookshop import BOOKS, NORTH, SOUTH, Bookshop

pytestmark = pytest.mark.db

NULLABLE = ("price", "printed", "sold")
SORTABLE = ("id", "title", "pages", *NULLABLE)


def stock(shop: Bookshop, count: int = 90) -> list[dict[str, Any]]:
    """Books with few different values and many NULLs."""
    chance = random.Random(5)
    rows = [
        {
            "id": UUID(int=chance.getrandbits(128)),
            "title": chance.choice(["", "a", "B", "ä", "'\\\"%_", "x" * 300]),
            "price": chance.choice(
                [None, None, Decimal("0.0000001"), Decimal(-5), Decimal("9.50")]
            ),
            "pages": chance.randint(-2, 2),
            "printed": chance.choice([None, datetime(2026, 11, 25, 8, 30, 0, 7, UTC), *days(3)]),
            "sold": chance.choice([None, True, False]),
        }
        for _ in range(count)
    ]
    shop.add("books", *rows)
    return rows


def days(count: int) -> list[datetime]:
    return [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(count)]


def in_order(rows: list[dict[str, Any]], sort: str) -> list[UUID]:
    """What Python makes of the same sort: NULLs last, or first in a descending one."""
    keys = sort.split(",")
    if not {"id", "-id"} & set(keys):
        keys.append("-id" if keys[-1].startswith("-") else "id")
    for key in reversed(keys):
        name = key.removeprefix("-")

        def place(row: dict[str, Any], name: str = name) -> tuple[bool, Any]:
            value = row[name]
            return (value is None, 0 if value is None else value)

        rows = sorted(rows, key=place, reverse=key.startswith("-"))
    return [row["id"] for row in rows]


def page(shop: Bookshop, token: str | None = None, topic: str = "books", **query: str) -> Any:
    pairs = {name: [value] for name, value in query.items()}
    if token is not None:
        pairs["cursor"] = [token]
    return shop[topic].list(ListQuery.parse(shop[topic].resource, pairs))


def walk(shop: Bookshop, way: str, token: str | None = None, **query: str) -> list[Any]:
    """The pages from `token` on, until there is no next (or prev)."""
    pages = [page(shop, token, **query)]
    while (token := getattr(pages[-1], way)) is not None:
        pages.append(page(shop, token, **query))
    return pages


def ids(pages: list[Any]) -> list[UUID]:
    return [row.id for each in pages for row in each.rows]


sorts = st.lists(st.sampled_from(SORTABLE), min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.tuples(*(st.sampled_from([n, "-" + n]) for n in names)).map(",".join)
)


def test_pages_are_the_list_that_python_sorts_forwards_and_backwards(shop: Bookshop) -> None:
    rows = stock(shop)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(sort=sorts, limit=st.integers(3, 40))
    def check(sort: str, limit: int) -> None:
        expected = in_order(rows, sort)
        forward = walk(shop, "next", sort=sort, limit=str(limit))
        assert ids(forward) == expected
        assert all(len(each.rows) == limit for each in forward[:-1])
        assert forward[0].prev is None
        backward = walk(shop, "prev", forward[-1].prev, sort=sort, limit=str(limit))
        assert ids([*reversed(backward), forward[-1]]) == expected
        assert backward[-1].prev is None and backward[0].next is not None

    with as_identity(NORTH):
        check()


@pytest.mark.parametrize("sort", ["price", "-price", "title,-price", "-printed,pages"])
def test_a_page_goes_on_from_every_single_row(shop: Bookshop, sort: str) -> None:
    rows = stock(shop, 30)
    expected = in_order(rows, sort)
    with as_identity(NORTH):
        pages = walk(shop, "next", sort=sort, limit="1")
        assert ids(pages) == expected
        for n, each in enumerate(pages[1:], 1):
            assert ids([page(shop, each.prev, sort=sort, limit="1")]) == expected[n - 1 : n]


def test_writers_between_two_pages_neither_hide_nor_double_a_row(shop: Bookshop) -> None:
    rows = stock(shop, 60)
    stop = threading.Event()
    chance = random.Random(1)

    def write() -> None:
        with as_identity(NORTH):
            conn = shop.database.open()
            while not stop.is_set():
                conn.execute("select set_config('forge.tenant_id', %s, false)", [str(NORTH.tenant)])
                conn.execute(
                    "insert into books (id, tenant_id, title, price) values (%s, %s, %s, %s)",
                    [uuid4(), NORTH.tenant, "new", chance.choice([None, 1, 100, -100])],
                )
            conn.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with as_identity(NORTH):
            for sort in ("price", "-price", "id", "-pages,price"):
                token, seen = None, []
                while set(seen) & {row["id"] for row in rows} != {row["id"] for row in rows}:
                    found = page(shop, token, sort=sort, limit="7")
                    seen += [row.id for row in found.rows]
                    token = found.next
                    if token is None:
                        break
                old = [each for each in seen if each in {row["id"] for row in rows}]
                assert len(seen) == len(set(seen))
                assert old == in_order(rows, sort)
    finally:
        stop.set()
        writer.join()


def test_a_row_that_the_cursor_names_may_be_gone(shop: Bookshop) -> None:
    rows = stock(shop, 20)
    expected = in_order(rows, "price")
    with as_identity(NORTH):
        first = page(shop, sort="price", limit="5")
        shop.owner.execute("delete from books where id = %s", [first.rows[-1].id])
        assert ids([page(shop, first.next, sort="price", limit="5")]) == expected[5:10]


def test_no_byte_of_a_token_can_be_changed(shop: Bookshop) -> None:
    stock(shop, 10)
    with as_identity(NORTH):
        token = page(shop, sort="price", limit="5").next
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        for n in range(len(raw)):
            changed = bytes([*raw[:n], raw[n] ^ 1, *raw[n + 1 :]])
            forged = base64.urlsafe_b64encode(changed).decode().rstrip("=")
            with pytest.raises(BadRequest):
                page(shop, forged, sort="price", limit="5")
        for other in ("", "x", token[:-4], token + "AAAA", "é", "=", token.swapcase(), "A" * 8000):
            with pytest.raises(BadRequest):
                page(shop, other, sort="price", limit="5")


def test_a_token_is_of_one_list_one_order_one_tenant_and_one_secret(shop: Bookshop) -> None:
    stock(shop, 10)
    shop.add("books", {"id": uuid4(), "title": "x"}, {"id": uuid4(), "title": "y"}, tenant=SOUTH)
    shop.add("authors", {"id": uuid4(), "name": "a"}, {"id": uuid4(), "name": "b"})
    with as_identity(NORTH):
        token = page(shop, sort="title", limit="5").next
        assert page(shop, token, sort="title", pages="1").rows is not None  # filters may change
        for wrong in ({"sort": "-title"}, {"sort": "price"}, {"sort": "title,price"}, {}):
            with pytest.raises(BadRequest):
                page(shop, token, **wrong)
        with pytest.raises(BadRequest):
            page(shop, page(shop, limit="5").next, topic="authors")
        keys = ["x", str(uuid4())]
        query = ListQuery.of(BOOKS, sort="title")
        used_for = cursors.Cursors(BOOKS, query, NORTH.tenant, b"").scope
        assert page(shop, cursors.write_cursor(shop.secret, used_for, keys, False), sort="title")
        with pytest.raises(BadRequest):
            page(shop, cursors.write_cursor(b"another", used_for, keys, False), sort="title")
    with as_identity(SOUTH), pytest.raises(BadRequest):
        page(shop, token, sort="title", limit="5")


def test_a_signed_token_whose_keys_a_new_release_cannot_read_is_refused(shop: Bookshop) -> None:
    query = ListQuery.of(BOOKS, sort="price")
    used_for = cursors.Cursors(BOOKS, query, NORTH.tenant, b"").scope
    for keys in (["cheap", str(uuid4())], ["1", "2"], ["1"], [], ["1", str(uuid4()), "3"]):
        with as_identity(NORTH), pytest.raises(BadRequest):
            page(shop, cursors.write_cursor(shop.secret, used_for, keys, False), sort="price")


def test_a_deep_page_reads_its_ranges_of_the_indexes_only(shop: Bookshop) -> None:
    shop.owner.execute("drop index books_forge_search_idx")
    shop.owner.execute(
        "insert into books (id, tenant_id, title, price)"
        " select gen_random_uuid(), %s, 't' || n %% 20000, case when n %% 4 > 0 then n %% 9999 end"
        " from generate_series(1, 60000) n",
        [NORTH.tenant],
    )
    shop.owner.execute("analyze books")
    for sort in (
        "price",
        "-price",
        "title",
        "-title",
        "price,title",
        "price,-title",
        "-price,title",
    ):
        query = ListQuery.of(BOOKS, sort=sort)
        for price in (Decimal(5000), None):
            deep = {"price": price, "title": "t300", "id": UUID(int=1 << 127)}
            order = listing.order_of(BOOKS, query)
            at = Position(tuple(deep[s.column.name] for s in order))
            sql, params = listing.statement(BOOKS, query, at)
            with as_identity(NORTH):
                explain = "explain (analyze, buffers, format json) "
                plan = shop["books"]._run(None, explain + sql, params)[0][0][0]["Plan"]
            assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= 200, (sort, price)


def test_a_stream_is_every_row_once_in_order(
    shop: Bookshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = stock(shop, 95)
    monkeypatch.setattr(reader, "BATCH", 10)
    with as_identity(NORTH):
        query = ListQuery.of(BOOKS, sort="-price,title", limit=3)
        assert [row.id for row in shop["books"].stream(query)] == in_order(rows, "-price,title")
        found = list(shop["books"].stream(ListQuery.of(BOOKS, {"pages": 1})))
        assert {row.id for row in found} == {row["id"] for row in rows if row["pages"] == 1}
    with as_identity(SOUTH):
        assert list(shop["books"].stream()) == []
