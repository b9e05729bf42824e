"""Joining rows: many_to_many fields in creates and changes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from uuid import uuid4

import pytest
from forge_min.actions.check import KeyChanges
from forge_min.auth import as_identity
from forge_min.errors import Conflict, Invalid
from forge_min.testing import TestDatabase

from workshop import ANN, BOB, BOSS, WRITER, Workshop, together, workshop

pytestmark = pytest.mark.db


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    """An empty workshop on a database of this test alone."""
    with workshop(fresh_database) as made:
        yield made


def test_a_create_joins_the_row_to_what_it_names(works: Workshop) -> None:
    works.tags("red", "wood")
    made = works.product("A", tag_ids=["wood", "red"])
    assert works.joined(made) == ["red", "wood"]
    assert works.joined(works.product("B")) == []
    assert works.joined(works.product("C", tag_ids=[])) == []


def test_an_update_makes_the_set_the_given_one(works: Workshop) -> None:
    works.tags("a", "b", "c")
    made = works.product("A", tag_ids=["a", "b"])
    with as_identity(ANN):
        changed = works["products"].update(made.id, {"tag_ids": ["c", "b"]})
        assert works.joined(made) == ["b", "c"] and changed.version == 2
        assert works["products"].update(made.id, {"tag_ids": ["b", "c"]}) == changed
        assert works["products"].update(made.id, {"name": "n"}).version == 3
        assert works.joined(made) == ["b", "c"]
        assert works["products"].update(made.id, {"tag_ids": [], "name": "n"}).version == 4
    assert works.joined(made) == []
    told = [changed for kind, _, changed in works.events("products") if kind == "product.updated"]
    assert told == [["tag_ids"], ["name"], ["tag_ids"]]


def test_a_replacement_without_the_field_leaves_the_set(works: Workshop) -> None:
    works.tags("a", "b")
    made = works.product("A", tag_ids=["a"])
    with as_identity(ANN):
        works["products"].replace(made.id, {"name": "other"})
        assert works.joined(made) == ["a"]
        works["products"].replace(made.id, {"name": "other", "tag_ids": ["b"]})
    assert works.joined(made) == ["b"]


@pytest.mark.parametrize("verb", ["create", "update", "create_many"])
def test_an_unknown_key_names_the_field_and_changes_nothing(works: Workshop, verb: str) -> None:
    works.tags("a")
    made = works.product("A", tag_ids=["a"])
    before = works.counts()
    wrong = {"tag_ids": ["a", "nowhere"]}
    calls = {
        "create": lambda: works["products"].create({"code": "B", **wrong}),
        "update": lambda: works["products"].update(made.id, {"name": "x", **wrong}),
        "create_many": lambda: works["products"].create_many([{"code": "B", **wrong}]),
    }
    with as_identity(ANN), pytest.raises(Invalid) as caught:
        calls[verb]()
    assert [(e.pointer, e.code) for e in caught.value.errors] == [("/tag_ids", "no_such_row")]
    assert works.counts() == before


@pytest.mark.parametrize(
    ("ids", "pointer"),
    [("a", "/tag_ids"), ([1], "/tag_ids/0"), (["a", "a"], "/tag_ids/1"), (None, "/tag_ids")],
)
def test_a_list_that_is_none_is_refused(works: Workshop, ids: object, pointer: str) -> None:
    with as_identity(ANN), pytest.raises(Invalid) as caught:
        works["products"].create({"code": "A", "tag_ids": ids})
    assert [e.pointer for e in caught.value.errors] == [pointer]


def test_the_keys_of_another_tenant_are_unknown(works: Workshop) -> None:
    works.tags("theirs", who=BOB)
    works.tags("shared")
    works.tags("shared", who=BOB)
    theirs = works.product("X", who=BOB)
    with as_identity(ANN):
        for call in (
            lambda: works["products"].create({"code": "A", "tag_ids": ["theirs"]}),
            lambda: works["tags"].create({"slug": "b", "product_ids": [theirs.id]}),
            lambda: works["tags"].update("shared", {"product_ids": [theirs.id]}),
        ):
            with pytest.raises(Invalid):
                call()
        mine = works.product("A", tag_ids=["shared"])
    ((tenant,),) = works.sql("select tenant_id from products_tags")
    assert tenant == ANN.tenant
    with as_identity(BOB):
        works["tags"].update("shared", {"product_ids": [theirs.id]})
        works["tags"].update("shared", {"product_ids": []})
    assert works.joined(mine) == ["shared"]


def test_both_sides_may_write_the_same_join_table(works: Workshop) -> None:
    works.tags("a", "b")
    one, two = works.product("A"), works.product("B", tag_ids=["a", "b"])
    with as_identity(ANN):
        works["tags"].update("a", {"product_ids": [one.id]})
    assert works.joined(one) == ["a"] and works.joined(two) == ["b"]


def test_create_many_joins_each_row_to_its_own(works: Workshop) -> None:
    works.tags("a", "b", "c")
    items = [
        {"code": "A", "tag_ids": ["b", "a"]},
        {"code": "B"},
        {"code": "C", "tag_ids": ["c"]},
    ]
    with as_identity(ANN):
        assert works["products"].create_many(items) == 3
    joined = works.sql(
        "select code, array_agg(tag_id::text order by tag_id) from products"
        " join products_tags on product_id = id group by code order by code"
    )
    assert joined == [("A", ["a", "b"]), ("C", ["c"])]
    changes = {
        changes["code"][1]: changes.get("tag_ids") for _, _, changes in works.audit("products")
    }
    assert changes == {"A": [None, ["a", "b"]], "B": None, "C": [None, ["c"]]}


def test_the_audit_has_the_keys_before_and_after(works: Workshop) -> None:
    works.tags("a", "b")
    made = works.product("A", tag_ids=["b", "a"])
    with as_identity(BOSS):
        works["products"].update(made.id, {"tag_ids": ["b"]})
        works["products"].delete(made.id)
        works["products"].restore(made.id)
    seen = [(op, changes["tag_ids"]) for op, _, changes in works.audit("products")]
    assert seen == [
        ("create", [None, ["a", "b"]]),
        ("update", [["a", "b"], ["b"]]),
        ("delete", [["b"], None]),
        ("restore", [None, ["b"]]),
    ]


def test_a_hard_deletion_takes_the_join_rows_along_and_tells_the_audit(works: Workshop) -> None:
    works.tags("a")
    made = works.product("A", tag_ids=["a"])
    with as_identity(ANN):
        works["tags"].delete("a")
    assert works.joined(made) == []
    operation, _, changes = works.audit("tags")[-1]
    assert (operation, changes) == (
        "delete",
        {"slug": ["a", None], "product_ids": [[str(made.id)], None]},
    )


def test_a_resource_may_be_joined_to_itself(works: Workshop) -> None:
    people = works["people"]
    with as_identity(WRITER):
        one = people.create({"name": "one"})
        two = people.create({"name": "two", "friends_ids": [one.id]})
        people.update(one.id, {"friends_ids": [one.id, two.id]})
        with pytest.raises(Invalid) as caught:
            people.update(one.id, {"friends_ids": [uuid4()]})
    assert [e.pointer for e in caught.value.errors] == ["/friends_ids"]
    assert works.one("select count(*) from people_friends") == 3


def test_changes_of_one_set_at_once_leave_one_of_them_and_an_unbroken_log(
    works: Workshop,
) -> None:
    names = [f"t{n}" for n in range(6)]
    works.tags(*names)
    made = works.product("A")

    def change(own: str) -> None:
        with as_identity(ANN):
            for n in range(10):
                given = [own, names[n % len(names)]] if names[n % len(names)] != own else [own]
                works["products"].update(made.id, {"tag_ids": given})

    assert together(*[partial(change, name) for name in names[:4]]) == []
    log = [changes["tag_ids"] for op, _, changes in works.audit("products") if op == "update"]
    assert [before for before, _ in log[1:]] == [after for _, after in log[:-1]]
    assert works.joined(made) == log[-1][1]


def test_a_deleted_target_may_not_be_taken_away_by_a_stranger(works: Workshop) -> None:
    works.tags("a")
    works.product("A", tag_ids=["a"])
    with as_identity(BOB), pytest.raises(Exception) as caught:
        works["tags"].delete("a")
    assert not isinstance(caught.value, Conflict)
    assert works.one("select count(*) from products_tags") == 1


def test_a_change_of_links_leaves_those_that_it_was_not_shown(works: Workshop) -> None:
    works.tags("a", "b", "c", "d")
    made = works.product("A", tag_ids=["a", "b"])
    with as_identity(ANN):
        works["tags"].update("c", {"product_ids": [made.id]})
        works["tags"].update("b", {"product_ids": []})
        # The client saw a and b, takes a away and adds d.
        changed = works["products"].update(made.id, {"tag_ids": KeyChanges("bd", seen="ab")})
        assert works.joined(made) == ["c", "d"], "b stays removed, c stays linked"
        seen = works["products"].update(made.id, {"tag_ids": KeyChanges("b", seen="b")})
        assert seen == changed, "nothing differs from what was seen"
    assert works.audit("products", "changes")[-1] == ({"tag_ids": [["a", "c"], ["c", "d"]]},)
    with as_identity(ANN), pytest.raises(Invalid) as caught:
        works["products"].update(made.id, {"tag_ids": KeyChanges(["nowhere"], seen=[])})
    assert [e.pointer for e in caught.value.errors] == ["/tag_ids"]


def test_links_changed_from_both_sides_at_once_are_all_kept(works: Workshop) -> None:
    names = [f"t{n}" for n in range(20)]
    works.tags("base", *names)
    made = works.product("A", tag_ids=["base"])

    def here(slug: str) -> None:
        with as_identity(ANN):
            change = KeyChanges(["base", slug], seen=["base"])
            works["products"].update(made.id, {"tag_ids": change})

    def there(slug: str) -> None:
        with as_identity(ANN):
            works["tags"].update(slug, {"product_ids": [made.id]})

    calls = [partial(here if n % 2 else there, slug) for n, slug in enumerate(names)]
    assert together(*calls) == []
    assert works.joined(made) == sorted(["base", *names])
