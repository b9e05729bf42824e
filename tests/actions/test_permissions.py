"""Who may do what: permissions of operations, columns that few may see or write."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from forge_min.actions import AggregateQuery
from forge_min.auth import ANONYMOUS, SYSTEM, Identity, as_identity
from forge_min.errors import Conflict, Forbidden, Invalid, Unauthenticated
from forge_min.testing import TestDatabase

from workshop import ANN, BOSS, NORTH, WRITER, Workshop, workshop

pytestmark = pytest.mark.db


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    """An empty workshop on a database of this test alone."""
    with workshop(fresh_database) as made:
        yield made


CALLS: dict[str, Any] = {
    "get": lambda a, id: a.get(id),
    "list": lambda a, id: a.list(),
    "stream": lambda a, id: list(a.stream()),
    "aggregate": lambda a, id: a.aggregate(AggregateQuery()),
    "related": lambda a, id: a.related([a.resource.row(id, "one", 1, 1)], ["friends"]),
    "linked": lambda a, id: a.linked(id, a.resource.relations[0]),
    "audit_log": lambda a, id: a.audit_log(id),
    "recent_changes": lambda a, id: a.recent_changes(9),
    "create": lambda a, id: a.create({"name": "x"}),
    "create_many": lambda a, id: a.create_many([{"name": "x"}]),
    "update": lambda a, id: a.update(id, {"name": "x"}),
    "replace": lambda a, id: a.replace(id, {"name": "x"}),
    "upsert_many": lambda a, id: a.upsert_many([{"name": "x", "id": id}], key="id"),
    "once": lambda a, id: a.once("k", "h", lambda conn: (200, [], b"")),
}


@pytest.mark.parametrize("call", CALLS)
def test_an_operation_with_a_permission_is_refused_to_others(works: Workshop, call: str) -> None:
    with as_identity(WRITER):
        made = works["people"].create({"name": "one"})
    before = works.counts()
    with as_identity(ANONYMOUS), pytest.raises(Unauthenticated):
        CALLS[call](works["people"], made.id)
    with as_identity(ANN), pytest.raises(Forbidden) as caught:
        CALLS[call](works["people"], made.id)
    assert "writer" not in caught.value.message and "reader" not in caught.value.message
    assert works.counts() == before
    with as_identity(SYSTEM):
        CALLS[call](works["people"], made.id)


def test_one_of_several_roles_is_enough(works: Workshop) -> None:
    with as_identity(WRITER):
        made = works["people"].create({"name": "one"})
    with as_identity(Identity(user="ed", roles=frozenset(["editor"]))):
        assert works["people"].update(made.id, {"name": "two"}).name == "two"
        with pytest.raises(Forbidden):
            works["people"].upsert_many([{"name": "x", "id": made.id}], key="id")


@pytest.mark.parametrize("missing", ["create", "update"])
def test_an_upsert_needs_the_permissions_of_both_its_effects(works: Workshop, missing: str) -> None:
    base = type(works["people"])
    permissions = {"create": ("creator",), "update": ("updater",)}
    guarded = {"resource": base.resource._replace(permissions=permissions)}
    people = type("Guarded", (base,), guarded)(works.database)
    people.registry = works.registry
    roles = {"create": ["updater"], "update": ["creator"]}
    with as_identity(Identity(user="ed", roles=frozenset(roles[missing]))):
        with pytest.raises(Forbidden):
            people.upsert_many([{"name": "x", "id": str(uuid4())}], key="id")
    assert works.one("select count(*) from people") == 0
    with as_identity(Identity(user="ed", roles=frozenset(["creator", "updater"]))):
        assert people.upsert_many([{"name": "x", "id": str(uuid4())}], key="id").inserted == 1


def test_what_names_anybody_is_open_and_so_is_a_resource_without_permissions(
    works: Workshop,
) -> None:
    with as_identity(WRITER):
        made = works["people"].create({"name": "one"})
    works["people"].delete(made.id)
    open_one = type(works["people"])
    open_one = type("Open", (open_one,), {"resource": open_one.resource._replace(permissions={})})
    for operation in ("read", "create", "delete", "anything"):
        assert open_one(works["people"]._database).allow(operation).user == ""


def test_what_no_permission_is_declared_for_is_refused_where_others_are(works: Workshop) -> None:
    base = type(works["people"])
    guarded = {"resource": base.resource._replace(permissions={"create": ("writer",)})}
    people = type("Guarded", (base,), guarded)(works["people"]._database)
    people.registry = works["people"].registry
    with as_identity(WRITER):
        key = people.create({"name": "one"}).id
    everybody = frozenset(["writer", "reader", "editor", "boss", "", "anybody"])
    for call in (
        lambda: people.get(key),
        lambda: people.list(),
        lambda: people.update(key, {"name": "x"}),
        lambda: people.delete(key),
        lambda: people.allow("close"),
        lambda: people.allow(""),
    ):
        with pytest.raises(Unauthenticated):
            call()
        with as_identity(Identity(user="all", roles=everybody)), pytest.raises(Forbidden):
            call()
    with as_identity(WRITER):
        made = people.create({"name": "three"})
        assert people.to_json(made).keys() == {"id", "version"}
    with as_identity(Identity(user="job", system=True)):
        people.delete(made.id)


def test_delete_and_restore_have_permissions_of_their_own(works: Workshop) -> None:
    made = works.product("A")
    for call in (works["products"].delete, works["products"].restore):
        with as_identity(ANN), pytest.raises(Forbidden):
            call(made.id)
    with as_identity(BOSS):
        works["products"].delete(made.id)
        assert works["products"].restore(made.id).version == 3


def test_a_verb_asks_by_its_own_name(works: Workshop) -> None:
    for who, verbs in ((ANN, ()), (BOSS, ("close",))):
        with as_identity(who):
            for verb in ("close", "delete_all"):
                if verb in verbs:
                    assert works["products"].allow(verb) is who
                else:
                    with pytest.raises(Forbidden):
                        works["products"].allow(verb)


def test_a_verb_on_many_rows_needs_its_permission(works: Workshop) -> None:
    key, called = works.product("A").id, []
    with as_identity(ANN), pytest.raises(Forbidden):
        works["products"].perform_each([key], "close", verb=called.append)
    assert called == []
    with as_identity(BOSS):
        assert works["products"].perform_each([key], "close", verb=called.append) == {key: None}
    assert called == [key]


def test_a_hidden_column_is_none_and_absent_in_json(works: Workshop) -> None:
    made = works.product("A", who=BOSS, cost="5")
    assert made.cost == Decimal("5.00")
    products = works["products"]
    with as_identity(BOSS):
        assert products.to_json(products.get(made.id))["cost"] == "5.00"
    with as_identity(ANN):
        seen = products.get(made.id)
        assert seen.cost is None and "cost" not in products.to_json(seen)
        assert "cost" not in products.to_json(made)
        assert products.list().rows[0].cost is None
        assert products.update(made.id, {"name": "x"}).cost is None
        assert products.update(made.id, {"name": "x"}).cost is None
        assert products.replace(made.id, {"name": "y"}).cost is None
    assert works.one("select cost from products") == Decimal("5.00")
    with as_identity(Identity(user="job", tenant=NORTH, system=True)):
        assert products.get(made.id).cost == Decimal("5.00")
        assert products.public(made.id).cost is None


def test_an_event_never_names_a_hidden_column(works: Workshop) -> None:
    made = works.product("A", who=BOSS)
    with as_identity(BOSS):
        works["products"].update(made.id, {"cost": "7", "name": "x"})
        works["products"].update(made.id, {"cost": "8"})
        works["products"].upsert_many([{"code": "A", "cost": "9", "name": "y"}], key="code")
    assert [changed for _, _, changed in works.events("products")] == [
        None,
        ["name"],
        [],
        ["name"],
    ]


@pytest.mark.parametrize("cost", ["1", None])
def test_a_column_is_written_by_those_who_may_only(works: Workshop, cost: object) -> None:
    made = works.product("A", who=BOSS, cost="5")
    products = works["products"]
    with as_identity(ANN):
        for call in (
            lambda: products.create({"code": "B", "cost": cost, "price": "x"}),
            lambda: products.update(made.id, {"cost": cost, "price": "x"}),
            lambda: products.replace(made.id, {"cost": cost, "price": "x", "name": "n"}),
            lambda: products.upsert_many([{"code": "A", "cost": cost, "price": "x"}], key="code"),
        ):
            with pytest.raises(Invalid) as caught:
                call()
            codes = {e.pointer.removeprefix("/0"): e.code for e in caught.value.errors}
            assert codes == {"/cost": "not_writable", "/price": "type"}
        products.replace(made.id, {"name": "n"})
    assert works.one("select cost from products") == Decimal("5.00")
    with as_identity(BOSS):
        assert products.replace(made.id, {"name": "n"}).cost is None


def test_a_replacement_keeps_what_its_author_cannot_see(works: Workshop) -> None:
    people = works["people"]
    with as_identity(WRITER):
        made = people.create({"name": "one", "age": 41})
    with as_identity(Identity(user="ed", roles=frozenset(["editor"]))):
        assert people.replace(made.id, {"name": "two"}).age is None
    with as_identity(WRITER):
        assert people.get(made.id).age == 41
        assert people.replace(made.id, {"name": "two"}).age is None
    assert works.one("select age from people") is None


def test_an_immutable_column_is_given_once(works: Workshop) -> None:
    made = works.product("A")
    products = works["products"]
    with as_identity(ANN):
        assert products.update(made.id, {"code": "A", "name": "x"}).version == 2
        assert products.replace(made.id, {"code": "A", "name": "x"}).version == 2
        assert products.replace(made.id, {"name": "y"}).code == "A"
        for call in (products.update, products.replace):
            with pytest.raises(Invalid) as caught:
                call(made.id, {"code": "B", "name": "z"})
            assert [(e.pointer, e.code) for e in caught.value.errors] == [("/code", "immutable")]
        with pytest.raises(Invalid) as caught:
            products.update(made.id, {"code": "B", "price": "x", "tag_ids": 1})
    found = {e.pointer: e.code for e in caught.value.errors}
    assert found == {"/code": "immutable", "/price": "type", "/tag_ids": "type"}
    assert works.sql("select code, name, version from products") == [("A", "y", 3)]


def test_a_value_that_the_row_has_already_is_no_reason_to_hide_a_wrong_one(works: Workshop) -> None:
    made = works.product("A")
    with as_identity(ANN), pytest.raises(Invalid) as caught:
        works["products"].update(made.id, {"code": "A", "price": "x", "details": {"a": 1}})
    assert [e.pointer for e in caught.value.errors] == ["/price"]
    assert works.one("select version from products") == 1


def test_a_reference_to_nothing_is_named_to_who_gave_it_though_he_may_not_see_it(
    works: Workshop,
) -> None:
    products = works["products"]
    columns = [
        c._replace(visible_to=("boss",)) if c.name == "maker_id" else c
        for c in products.resource.columns
    ]
    products.resource = products.resource._replace(columns=tuple(columns))  # type: ignore[misc]
    products._hides = True
    with as_identity(ANN), pytest.raises(Invalid) as caught:
        products.create({"code": "A", "maker_id": str(uuid4())})
    assert [e.pointer for e in caught.value.errors] == ["/maker_id"]


def units_with(works: Workshop, **options: Any) -> Any:
    """The actions of units with other options of `symbol`, which few may see."""
    base = type(works["units"])
    columns = tuple(
        column._replace(visible_to=("boss",), **options) if column.name == "symbol" else column
        for column in base.resource.columns
    )
    guarded = {"resource": base.resource._replace(columns=columns)}
    units = type("Guarded", (base,), guarded)(works.database)
    units.registry = works.registry
    return units


def test_a_conflict_does_not_name_a_hidden_field(works: Workshop) -> None:
    """It would reveal the hidden value of another row to a client that guesses it."""
    units = units_with(works)
    with as_identity(BOSS):
        units.create({"code": "a", "symbol": "x"})
        units.create({"code": "b"})
    calls: list[Any] = [
        lambda: units.create({"code": "c", "symbol": "x"}),
        lambda: units.create_many([{"code": "c", "symbol": "x"}]),
        lambda: units.update("b", {"symbol": "x"}, version=1),
        lambda: units.replace("b", {"code": "b", "symbol": "x"}, version=1),
        lambda: units.upsert_many([{"code": "b", "symbol": "x"}], key="code"),
    ]
    for identity, pointers in ((ANN, []), (BOSS, ["/symbol"])):
        for call in calls:
            with as_identity(identity), pytest.raises(Conflict) as caught:
                call()
            assert [error.pointer for error in caught.value.errors] == pointers
            assert ("symbol" in caught.value.message) is bool(pointers)


def test_a_guess_of_a_hidden_immutable_value_gets_the_same_answer(works: Workshop) -> None:
    units = units_with(works, immutable=True)
    with as_identity(BOSS):
        units.create({"code": "a", "symbol": "x"})

    def errors(symbol: str, call: str) -> list[tuple[str, str]]:
        item = {"code": "a", "symbol": symbol}
        try:
            if call == "upsert_many":
                units.upsert_many([item], key="code")
            else:
                getattr(units, call)("a", item, version=1)
        except Invalid as err:
            return [(error.pointer.rpartition("/")[2], error.code) for error in err.errors]
        return []

    for call in ("update", "replace", "upsert_many"):
        with as_identity(ANN):
            assert errors("x", call) == errors("y", call), call
        with as_identity(BOSS):
            assert errors("x", call) == []
            assert errors("y", call) == [("symbol", "immutable")]
    assert works.sql("select symbol, version from units") == [("x", 1)]
