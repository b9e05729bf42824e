"""Related rows: one query per relation, the target's own rules, never more than a hundred each."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from forge_min.actions import Limits, ListQuery
from forge_min.actions.lists import related_statement
from forge_min.auth import SYSTEM, Identity, as_identity
from forge_min.errors import BadRequest, Forbidden, Unauthenticated

from bookshop import BOOKS, NORTH, SOUTH, Bookshop

pytestmark = pytest.mark.db

READER = Identity(user="ann", tenant=NORTH.tenant, roles=frozenset({"reader"}))
STAFF = Identity(user="sue", tenant=NORTH.tenant, roles=frozenset({"staff"}))
ANN, BEN, COB = UUID(int=101), UUID(int=102), UUID(int=103)


@pytest.fixture
def full(shop: Bookshop) -> Bookshop:
    """Three authors of North, five books, two profiles, three tags; Ann is South's as well."""
    shop.add("authors", author(ANN, "Ann"), author(BEN, "Ben"), author(COB, "Cob"))
    shop.add(
        "books",
        book(1, ANN, editor_id=BEN, cost=3),
        book(2, ANN),
        book(3, BEN, editor_id=BEN),
        book(4, None),
        book(5, ANN, deleted_at="2026-01-01T00:00:00Z"),
    )
    shop.add("books", book(6, ANN), tenant=SOUTH)
    shop.add(
        "profiles",
        {"id": UUID(int=11), "author_id": ANN, "words": "old", "deleted_at": "2026-01-01Z"},
        {"id": UUID(int=12), "author_id": ANN, "words": "new"},
    )
    shop.add("profiles", {"id": UUID(int=13), "author_id": BEN, "words": "x"}, tenant=SOUTH)
    shop.add("tags", {"slug": "a"}, {"slug": "b"}, {"slug": "c"})
    shop.add("tags", {"slug": "a"}, {"slug": "z"}, tenant=SOUTH)
    for n, tag in ((1, "a"), (1, "b"), (3, "b"), (5, "c")):
        shop.add("books_tags", {"book_id": UUID(int=n), "tag_id": tag})
    shop.add("books_tags", {"book_id": UUID(int=2), "tag_id": "a"}, tenant=SOUTH)
    return shop


def author(key: UUID, name: str) -> dict[str, Any]:
    return {"id": key, "name": name, "email": f"{name}@example.org"}


def book(n: int, written_by: UUID | None, **fields: Any) -> dict[str, Any]:
    return {"id": UUID(int=n), "title": f"Book {n}", "author_id": written_by, **fields}


def follow(shop: Bookshop, topic: str, name: str) -> dict[Any, Any]:
    """The relation of every row of a list, rows as the numbers or words of their keys."""

    def short(row: Any) -> Any:
        return None if row is None else getattr(row, "slug", None) or row.id.int

    actions = shop[topic]
    rows = actions.list(ListQuery(limit=100)).rows
    (found,) = actions.related(rows, [name]).values()
    return {
        getattr(key, "int", key): [short(row) for row in leads] if isinstance(leads, list)
        else short(leads)
        for key, leads in found.items()
    }  # fmt: skip


def test_belongs_to_gives_a_row_or_none(full: Bookshop) -> None:
    with as_identity(NORTH):
        assert follow(full, "books", "author") == {1: 101, 2: 101, 3: 102, 4: None}


def test_has_many_gives_the_living_rows_the_newest_first(full: Bookshop) -> None:
    with as_identity(NORTH):
        assert follow(full, "authors", "books") == {101: [2, 1], 102: [3], 103: []}


def test_has_one_gives_the_living_row(full: Bookshop) -> None:
    with as_identity(READER):
        assert follow(full, "authors", "profile") == {101: 12, 102: None, 103: None}


def test_many_to_many_goes_both_ways_also_to_keys_of_their_own_type(full: Bookshop) -> None:
    with as_identity(NORTH):
        assert follow(full, "books", "tags") == {1: ["b", "a"], 2: [], 3: ["b"], 4: []}
        assert follow(full, "tags", "books") == {"a": [1], "b": [3, 1], "c": []}
    with as_identity(SOUTH):
        assert follow(full, "tags", "books") == {"a": [], "z": []}
        assert follow(full, "books", "author") == {6: None}


def test_a_target_is_read_by_those_who_may_read_it(full: Bookshop) -> None:
    with as_identity(NORTH), pytest.raises(Forbidden):
        follow(full, "authors", "profile")
    with as_identity(Identity(tenant=NORTH.tenant)), pytest.raises(Unauthenticated):
        follow(full, "authors", "profile")
    with as_identity(Identity(user="system", tenant=NORTH.tenant, system=True)):
        assert follow(full, "authors", "profile")[101] == 12


def test_hidden_columns_of_the_target_stay_hidden(full: Bookshop) -> None:
    with as_identity(NORTH):
        rows = full["books"].list().rows
        people = full["books"].related(rows, ["author"])["author"]
        assert {person.email for person in people.values() if person} == {None}
        shown = full["books"].to_json_many(rows, ["author"])
        assert all("email" not in (each["author"] or {}) and "cost" not in each for each in shown)
    with as_identity(STAFF):
        (shown, *_) = full["books"].to_json_many(
            full["books"].list(ListQuery.of(BOOKS, sort="id")).rows, ["author"]
        )
        assert (shown["author"]["email"], shown["cost"]) == ("Ann@example.org", "3")


def test_a_relation_over_a_hidden_key_is_not_there_for_others(full: Bookshop) -> None:
    with as_identity(STAFF):
        assert follow(full, "books", "editor") == {1: 102, 2: None, 3: 102, 4: None}
        assert follow(full, "authors", "edited") == {101: [], 102: [3, 1], 103: []}
    with as_identity(NORTH):
        for topic, hidden, others in (
            ("books", "editor", "author, tags"),
            ("authors", "edited", "books, profile"),
        ):
            with pytest.raises(BadRequest) as caught:
                full[topic].list(ListQuery(include=(hidden,)))
            assert caught.value.message.endswith(f": {others}")
            with pytest.raises(BadRequest):
                follow(full, topic, hidden)


@pytest.mark.parametrize("include", ["x", "author,x", "author,", ",", "author_id", "author.books"])
def test_what_is_no_relation_is_refused_naming_those_that_are(shop: Bookshop, include: str) -> None:
    with as_identity(NORTH), pytest.raises(BadRequest) as caught:
        shop["books"].list(ListQuery.parse(BOOKS, {"include": [include]}))
    assert "author" in caught.value.message


def test_json_has_the_related_rows_under_the_name_of_the_relation(full: Bookshop) -> None:
    with as_identity(NORTH):
        query = ListQuery.parse(BOOKS, {"include": ["tags,author,tags"], "sort": ["id"]})
        rows = full["books"].list(query).rows
        first, *_, last = full["books"].to_json_many(rows, query.include)
        assert [tag["slug"] for tag in first["tags"]] == ["b", "a"]
        assert first["author"]["name"] == "Ann"
        assert (last["tags"], last["author"]) == ([], None)
        assert "tags" not in full["books"].to_json_many(rows)[0]


def test_each_row_gets_at_most_a_hundred(shop: Bookshop) -> None:
    shop.add("authors", author(ANN, "Ann"), author(BEN, "Ben"))
    shop.owner.execute(
        "insert into books (id, tenant_id, title, author_id) select"
        " lpad(to_hex(n), 32, '0')::uuid, %s, 'x', case n %% 2 when 0 then %s else %s end"
        " from generate_series(1, 401) n",
        [NORTH.tenant, ANN, BEN],
    )
    with as_identity(NORTH):
        found = follow(shop, "authors", "books")
    assert found == {101: list(range(400, 200, -2)), 102: list(range(401, 201, -2))}


def test_one_query_per_relation_however_many_rows(full: Bookshop) -> None:
    seen: list[str] = []
    actions = full["books"]
    with as_identity(NORTH):
        conn = full.database.connection()
        conn.instrument = lambda sql, send: (seen.append(sql), send())[1]
        rows = actions.list(ListQuery(limit=100)).rows
        seen.clear()
        actions.related(rows, ["author", "tags"])
        actions.related([], ["author", "tags"])
    assert len(seen) == 2


def test_rows_of_a_tag_are_looked_up_not_searched_for(shop: Bookshop) -> None:
    shop.owner.execute(
        "insert into books (id, tenant_id, title)"
        " select lpad(to_hex(n), 32, '0')::uuid, %s, 'x' from generate_series(1, 20000) n",
        [NORTH.tenant],
    )
    shop.add("tags", {"slug": "a"}, {"slug": "b"})
    for n in (1, 2, 20000):
        shop.add("books_tags", {"book_id": UUID(int=n), "tag_id": "a"})
    shop.owner.execute("create index on books_tags (tenant_id, tag_id)")
    shop.owner.execute("analyze")
    (relation,) = shop["tags"].resource.relations
    sql = "explain (analyze, buffers, format json) " + related_statement(
        relation, shop["tags"].resource, BOOKS
    )
    params = {"forge_keys": ["a", "b"]}
    with as_identity(NORTH):
        assert follow(shop, "tags", "books") == {"a": [20000, 2, 1], "b": []}
        ((plan,),) = shop["books"]._run(None, sql, params)
    top = plan[0]["Plan"]
    assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 60


def test_the_system_has_no_tenant_of_its_own(full: Bookshop) -> None:
    with as_identity(SYSTEM), pytest.raises(Forbidden) as caught:
        full["books"].list()
    assert caught.value.code == "F620"
    with pytest.raises(Unauthenticated):
        full["books"].list()


def test_related_rows_that_are_too_large_are_refused(full: Bookshop) -> None:
    with as_identity(STAFF):
        rows = full["authors"].list().rows
        full["books"].limits = Limits(response=10)
        with pytest.raises(BadRequest, match="larger than 10 bytes"):
            full["authors"].related(rows, ["books"])
        assert full["authors"].related(rows, ["profile"])
