"""Conditions on related rows: what plain SQL finds, and nothing of what the client may not see."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from forge_min.actions import Column, ListQuery, Relation
from forge_min.actions import query as queries
from forge_min.auth import Identity, as_identity
from forge_min.errors import BadRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookshop import BOOKS, KEY, LANGUAGES, NORTH, SOUTH, VERSION, Bookshop, resource

pytestmark = pytest.mark.db

STAFF = {
    who: Identity(user="sue", tenant=who.tenant, roles=frozenset({"staff"}))
    for who in (NORTH, SOUTH)
}
WORDS = ["Ann", "ann", "100%", "_", "\\", "{}", "it's", "a,b", "%(f0)s", '"']
NUMBERS = [Decimal(1), Decimal("2.5"), Decimal(3)]
# relation → table of the list, the link in plain SQL, whether rows of the target can be deleted,
# columns with values
LINKS: dict[str, tuple[str, str, bool, dict[str, Any]]] = {
    "author": ("books", "t.id = o.author_id", False, {"name": WORDS, "email": WORDS}),
    "editor": ("books", "t.id = o.editor_id", False, {"name": WORDS, "email": WORDS}),
    "original": ("books", "t.id = o.author_id", True, {"title": WORDS, "price": NUMBERS}),
    "profile": ("authors", "t.author_id = o.id", True, {"words": WORDS}),
}
TARGETS = {"author": "authors", "editor": "authors", "original": "books", "profile": "profiles"}
SQL = {
    "eq": "= %s", "ne": "<> %s", "gt": "> %s", "gte": ">= %s", "lt": "< %s", "lte": "<= %s",
    "in": "= any(%s)",
}  # fmt: skip


@st.composite
def conditions(draw: Any) -> tuple[str, str, str, Any]:
    """A relation, a column, an operator, a value."""
    relation = draw(st.sampled_from(sorted(LINKS)))
    column, values = draw(st.sampled_from(sorted(LINKS[relation][3].items())))
    several = {"is_null": st.booleans(), "in": st.lists(st.sampled_from(values), min_size=2)}
    texts = ["contains"] * (values is WORDS)
    operator = draw(st.sampled_from([*SQL, "is_null", *texts]))
    return relation, column, operator, draw(several.get(operator, st.sampled_from(values)))


@pytest.fixture
def full(shop: Bookshop) -> Bookshop:
    """Rows of two tenants that refer to each other's, to deleted ones, and to none.

    Books have a self-relation over `author_id`, which leads to authors or to books.
    """
    original = Relation("original", "belongs_to", "books", "author_id")
    books = BOOKS._replace(relations=(*BOOKS.relations, original))
    shop["books"].__class__.resource = books
    profiles = shop["profiles"].resource
    columns = [c._replace(filterable=c.filterable or c.name == "words") for c in profiles.columns]
    shop["profiles"].__class__.resource = profiles._replace(columns=tuple(columns))
    chance, deleted = random.Random(5), [None, None, "2026-01-01Z"]
    for who, first in ((NORTH, 0), (SOUTH, 1000)):
        for n in range(first + 100, first + 120):
            name, email = chance.choice(WORDS), chance.choice([None, *WORDS])
            shop.add("authors", {"id": UUID(int=n), "name": name, "email": email}, tenant=who)
    ids = [UUID(int=n) for n in (*range(60), *range(100, 120), *range(1000, 1060), 1100, 1101, 9)]
    for who, first in ((NORTH, 0), (SOUTH, 1000)):
        for n in range(first, first + 60):
            book: dict[str, Any] = {"id": UUID(int=n), "title": chance.choice(WORDS)}
            book |= {"price": chance.choice([None, *NUMBERS]), "deleted_at": chance.choice(deleted)}
            book |= {name: chance.choice([None, *ids]) for name in ("author_id", "editor_id")}
            shop.add("books", book, tenant=who)
        for n in range(first, first + 40):
            profile: dict[str, Any] = {"id": UUID(int=n), "author_id": chance.choice(ids)}
            profile |= {
                "words": chance.choice([None, *WORDS]),
                "deleted_at": chance.choice(deleted),
            }
            shop.add("profiles", profile, tenant=who)
    return shop


def expected(shop: Bookshop, who: Identity, asked: list[tuple[str, str, str, Any]]) -> set[UUID]:
    """The keys of the rows by joins as the owner, without views and policies."""
    (table, *_) = {LINKS[relation][0] for relation, *_ in asked}
    sql, where = f"select o.id from {table} o", " where o.tenant_id = %s"
    where += " and o.deleted_at is null" * (table == "books")
    params: list[Any] = [who.tenant]
    for n, (relation, column, operator, value) in enumerate(asked):
        _, link, deletes, _ = LINKS[relation]
        sql += f" join {TARGETS[relation]} t{n} on {link} and t.tenant_id = o.tenant_id".replace(
            "t.", f"t{n}."
        )
        where += f" and t{n}.deleted_at is null" * deletes
        name = f"t{n}.{column}"
        if operator == "is_null":
            where += f" and ({name} is null) = %s"
        elif operator == "contains":
            where += f" and strpos(lower({name}), lower(%s)) > 0"
        else:
            where += f" and {name} {SQL[operator]}"
        params.append(value)
    return {key for (key,) in shop.owner.execute(sql + where, params).fetchall()}


def test_conditions_find_what_plain_sql_finds(full: Bookshop) -> None:
    found_some: set[str] = set()

    @settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(conditions(), min_size=1, max_size=3), st.sampled_from([NORTH, SOUTH]))
    def check(drawn: list[tuple[str, str, str, Any]], who: Identity) -> None:
        table = LINKS[drawn[0][0]][0]
        names = {f"{r}.{c}[{op}]": (r, c, op, v) for r, c, op, v in drawn if LINKS[r][0] == table}
        wanted = expected(full, who, [*names.values()])
        actions, values = full[table], {name: value for name, (*_, value) in names.items()}
        as_texts = {
            name: [str(v).lower() if v in (True, False) else str(v) for v in value]
            for name, each in values.items()
            for value in [each if isinstance(each, list) else [each]]
        }
        with as_identity(STAFF[who]):
            for query in (
                ListQuery.of(actions.resource, values),
                ListQuery.parse(actions.resource, as_texts),
            ):
                assert {row.id for row in actions.stream(query)} == wanted
            page = actions.list(ListQuery.of(actions.resource, values, page=1))
            assert page.total == len(wanted)
        found_some.update(r for r, *_ in names.values() if wanted)

    check()
    assert found_some == LINKS.keys()


READER = Identity(user="ann", tenant=NORTH.tenant, roles=frozenset({"reader"}))
OWN = {
    "books": "id, title, price, pages, printed, sold, author_id",
    "authors": "id, name",
    "languages": "code",
}
HOSTILE = [
    "author.", ".name", ".", "..", "author..name", "author.author.name", "author.name.x",
    "author.books.title", "Author.name", "author.Name", "author .name", "author.name ",
    'author."name"', "author.name[in", "author[in].name", "author.name[in][in]", "author.name]",
    "author.name;drop table books", "author.version", "author.tenant_id", "author_id.name",
    "authors.name", "author.name\x00", "title.name", "nothing.name", "tags.slug", "tags.x",
    "author.books", "{}.name", "author.{}",
]  # fmt: skip


@pytest.mark.parametrize(
    ("who", "topic", "names", "related"),
    [
        # The key of editor and the field email are for staff.
        (NORTH, "books", [*HOSTILE, "editor.name", "editor.id", "author.email"],
         ", author.id, author.name"),
        # To read profiles needs a role; has_many is no condition.
        (NORTH, "authors", ["profile.id", "profile.x", "books.title", "edited.title"], ""),
        (READER, "authors", ["profile.words", "profile.x", "books.title"],
         ", profile.id, profile.author_id"),
        # Rows of no tenant are not found by those of one.
        (NORTH, "languages", ["book.title", "book.id", "nothing.id"], ""),
    ],
)  # fmt: skip
def test_what_may_not_be_seen_is_answered_as_what_does_not_exist(
    shop: Bookshop, who: Identity, topic: str, names: list[str], related: str
) -> None:
    book = Relation("book", "has_one", "books", "title")
    shop["languages"].__class__.resource = LANGUAGES._replace(relations=(book,))
    actions = shop[topic]
    for name in names:
        for key, value in ((name, "x"), (f"{name}[in]", "1,2"), (f"{name}[none]", "x")):
            for run in (actions.list, actions.stream):
                with as_identity(who), pytest.raises(BadRequest) as caught:
                    run(ListQuery.parse(actions.resource, {key: [value]}))
                err = caught.value
                allowed = OWN[topic] + related
                assert err.message == f"{key} is not a filter here; filters: {allowed}"
                assert (err.code, err.hint, err.errors) == ("F608", None, ())


def test_an_anonymous_user_and_one_of_no_tenant_have_no_conditions_on_tenants_rows(
    shop: Bookshop,
) -> None:
    """The list is open and of no tenant, its target is neither or of a tenant."""
    shelf = resource(
        "Shelf", KEY, Column("code", "string"), VERSION, tenant_scoped=False,
        relations=(
            Relation("language", "belongs_to", "languages", "code"),
            Relation("book", "belongs_to", "books", "code"),
        ),
    )  # fmt: skip
    shelves = type("Shelves", (type(shop["books"]),), {"resource": shelf})(shop.database)
    shelves.registry = shop
    shop.owner.execute("create table shelfs (id uuid, code text, version bigint)")
    shop.owner.execute("insert into shelfs values (gen_random_uuid(), 'de'), (null, 'en')")
    shop.add("languages", {"code": "de"}, tenant=None)
    for who in (Identity(), Identity(user="ann"), NORTH):
        with as_identity(who):
            (row,) = shelves.list(ListQuery.of(shelf, {"language.code[gte]": "a"})).rows
            assert row.code == "de"
            with pytest.raises(BadRequest, match=r"book\.title is not a filter here"):
                shelves.list(ListQuery.of(shelf, {"book.title": "x"}))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("author.name[none]", "x", "author.name[none]: operators are eq, "),
        ("author.id[contains]", "x", "author.id[contains]: contains is only for text"),
        ("author.id", "x", "author.id must be an id of 36 characters"),
        ("author.name[is_null]", "x", "author.name[is_null] must be "),
    ],
)
def test_a_wrong_condition_on_a_visible_field_is_named(
    shop: Bookshop, key: str, value: str, message: str
) -> None:
    with as_identity(NORTH), pytest.raises(BadRequest) as caught:
        shop["books"].list(ListQuery.parse(BOOKS, {key: [value]}))
    assert caught.value.message.startswith(message)


def test_conditions_on_related_rows_count_as_others() -> None:
    asked = {"author.name": ["a", "b", "a"], "title": ["x", "y"]}
    assert ListQuery.parse(BOOKS, asked, max_conditions=4).related
    with pytest.raises(BadRequest) as caught:
        ListQuery.parse(BOOKS, asked, max_conditions=3)
    assert caught.value.code == "F643"


def test_pages_by_cursor_keep_the_conditions(full: Bookshop) -> None:
    asked = {"author.name[in]": ["Ann,ann,100%,_"], "limit": ["3"], "sort": ["-price,title"]}
    with as_identity(NORTH):
        rows, cursor = [], None
        while cursor is not None or not rows:
            more = {"cursor": [cursor]} if cursor else {}
            page = full["books"].list(ListQuery.parse(BOOKS, asked | more))
            rows, cursor = rows + page.rows, page.next
        values = [("author", "name", "in", ["Ann", "ann", "100%", "_"])]
        assert {row.id for row in rows} == expected(full, NORTH, values) and len(rows) > 3


def test_the_indexes_of_both_tables_are_used(shop: Bookshop) -> None:
    key = "lpad(to_hex({}), 32, '0')::uuid"
    for sql in (
        "insert into authors (id, tenant_id, name)"
        f" select {key.format('n')}, %s, 'name ' || n from generate_series(1, 100000) n",
        "insert into books (id, tenant_id, title, author_id)"
        f" select {key.format('n')}, %s, 'x', {key.format('1 + n * 7919 %% 100000')}"
        " from generate_series(1, 100000) n",
    ):
        shop.owner.execute(sql, [NORTH.tenant])
    shop.owner.execute("create index on authors (tenant_id, name)")  # as a filterable field has
    shop.owner.execute("analyze")
    books = shop["books"]
    for options in ({}, {"sort": "title"}, {"page": 1}):
        query = ListQuery.of(BOOKS, {"author.name": "name 77"}, **options)
        with as_identity(NORTH):
            sql, params = queries.statement(BOOKS, books._with_related_filters(query))
            ((plan,),) = books._run(None, f"explain (analyze, buffers, format json) {sql}", params)
            assert len(books.list(query).rows) == 1
        top = plan[0]["Plan"]
        assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 50, plan
        assert "Seq Scan" not in str(plan)
