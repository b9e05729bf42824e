"""Search: websearch words over the generated vector, the best match first, pages that agree."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from forge_min.actions import ListQuery
from forge_min.actions import query as listing
from forge_min.auth import as_identity
from forge_min.errors import BadRequest

from bookshop import BOOKS, NORTH, SOUTH, Bookshop

pytestmark = pytest.mark.db


def book(n: int, title: str, blurb: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": UUID(int=n), "title": title, "blurb": blurb, **fields}


@pytest.fixture
def shelf(shop: Bookshop) -> Bookshop:
    """Books about the sea; number 5 was deleted, number 6 is another tenant's."""
    shop.add(
        "books",
        book(1, "Trees", "nothing of the sea but a word"),
        book(2, "The sea, the sea", "sea and sea"),
        book(3, "Sea", "and land"),
        book(4, "Sea", "and land"),
        book(5, "Sea of sea", "sea", deleted_at="2026-01-01T00:00:00Z"),
        book(7, "Land", "more land", pages=3),
    )
    shop.add("books", book(6, "Sea", "sea"), tenant=SOUTH)
    return shop


def found(shop: Bookshop, q: str, **query: str) -> list[int]:
    pairs = {name: [value] for name, value in {"q": q, **query}.items()}
    with as_identity(NORTH):
        rows = shop["books"].list(ListQuery.parse(BOOKS, pairs)).rows
    return [row.id.int for row in rows]


def test_the_best_match_comes_first_and_equal_ones_by_key(shelf: Bookshop) -> None:
    assert found(shelf, "sea") == [2, 4, 3, 1]
    assert found(shelf, "SEA land") == [4, 3]
    assert found(shelf, '"the sea" -word') == [2]
    assert found(shelf, "trees or more") == [1, 7]
    assert found(shelf, "seas") == []
    assert found(shelf, "se") == found(shelf, "sea") and found(shelf, '"se"') == []
    assert found(shelf, "SEA lan") == [4, 3] and found(shelf, "lan sea") == []
    assert sorted(found(shelf, 'sea -"foo bar')) == [1, 2, 3, 4], "a quote that is not closed"


def test_of_many_results_a_part_is_ranked(shelf: Bookshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forge_min.actions.query.MAX_RANKED", 2)
    assert len(found(shelf, "sea")) == 2
    assert found(shelf, "sea", sort="id") == [1, 2, 3, 4]


def test_a_sort_that_is_asked_for_wins_over_the_rank(shelf: Bookshop) -> None:
    assert found(shelf, "sea", sort="id") == [1, 2, 3, 4]
    assert found(shelf, "land", sort="-pages,id") == [7, 3, 4]


def test_search_goes_with_filters_and_totals(shelf: Bookshop) -> None:
    assert found(shelf, "land", pages="3") == [7]
    with as_identity(NORTH):
        query = ListQuery.of(BOOKS, {"title": "Sea"}, q="sea", page=2, limit=1)
        page = shelf["books"].list(query)
        assert (page.total, [row.id.int for row in page.rows]) == (2, [3])
        beyond = shelf["books"].list(ListQuery.of(BOOKS, q="sea", page=9))
        assert (beyond.total, beyond.rows) == (4, [])


def test_pages_of_a_search_are_the_whole_of_it_forwards_and_backwards(shop: Bookshop) -> None:
    texts = ["word " * (n % 7) + "other " * (n % 3) for n in range(60)]
    shop.add("books", *(book(n + 1, text, text * (n % 2)) for n, text in enumerate(texts)))
    with as_identity(NORTH):
        whole = shop["books"].list(ListQuery.of(BOOKS, q="word", limit=100)).rows
        assert len(whole) == sum("word" in text for text in texts)
        for limit in (1, 4):
            pages = [shop["books"].list(ListQuery(q="word", limit=limit))]
            while pages[-1].next:
                query = ListQuery(q="word", limit=limit, cursor=pages[-1].next)
                pages.append(shop["books"].list(query))
            assert [row for page in pages for row in page.rows] == whole
            before = shop["books"].list(ListQuery(q="word", limit=limit, cursor=pages[5].prev))
            assert before.rows == pages[4].rows
        assert list(shop["books"].stream(ListQuery(q="word"))) == whole


def test_a_cursor_of_other_words_is_refused(shelf: Bookshop) -> None:
    with as_identity(NORTH):
        token = shelf["books"].list(ListQuery(q="sea", limit=1)).next
        with pytest.raises(BadRequest):
            shelf["books"].list(ListQuery(q="land", limit=1, cursor=token))
        with pytest.raises(BadRequest):
            shelf["books"].list(ListQuery(limit=1, cursor=token))


@pytest.mark.parametrize(
    "q",
    [
        "!!!",
        "-",
        '"',
        "'",
        "()",
        "&|!<->:*",
        "\\",
        "%(forge_q)s %s",
        "a:*b",
        "e" * 200,
        "☃",
        "or",
        "漢字",
    ],
)
def test_whatever_is_typed_is_words_or_nothing(shelf: Bookshop, q: str) -> None:
    assert found(shelf, q) == []


def test_blank_is_no_search(shelf: Bookshop) -> None:
    assert sorted(found(shelf, "  ")) == [1, 2, 3, 4, 7] == sorted(found(shelf, ""))


@pytest.mark.parametrize("q", ["e" * 201, " " * 201, "a\x00b", "\ud800"])
def test_what_cannot_be_searched_for_is_refused(shop: Bookshop, q: str) -> None:
    with pytest.raises(BadRequest):
        ListQuery.parse(BOOKS, {"q": [q]})
    with pytest.raises(BadRequest):
        ListQuery.of(BOOKS, q=q)


def test_a_list_without_searchable_fields_refuses_words(shop: Bookshop) -> None:
    with pytest.raises(BadRequest):
        ListQuery.parse(shop["authors"].resource, {"q": ["x"]})
    with pytest.raises(BadRequest):
        ListQuery.parse(BOOKS, {"q": ["x", "y"]})


def test_search_reads_the_index_of_the_vector(shop: Bookshop) -> None:
    shop.owner.execute(
        "insert into books (id, tenant_id, title)"
        " select gen_random_uuid(), %s, 'title ' || n from generate_series(1, 20000) n",
        [NORTH.tenant],
    )
    shop.add("books", book(1, "needle"), {"id": uuid4(), "title": "needle"})
    shop.owner.execute("vacuum analyze books")  # moves what is pending into the index
    sql, params = listing.statement(BOOKS, ListQuery(q="needle"))
    with as_identity(NORTH):
        assert len(shop["books"].list(ListQuery(q="needle")).rows) == 2
        ((plan,),) = shop["books"]._run(
            None, "explain (analyze, buffers, format json) " + sql, params
        )
    top = plan[0]["Plan"]
    assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 200
