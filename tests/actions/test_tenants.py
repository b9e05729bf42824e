"""One tenant cannot read, change, find out or refer to what is another's: every action is tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from forge_min import db
from forge_min.auth import ANONYMOUS, SYSTEM, Identity, as_identity
from forge_min.errors import DomainError, Forbidden, Invalid, NotFound, Unauthenticated
from forge_min.testing import TestDatabase

from round_trips import counting_proxy
from workshop import ANN, BOB, BOSS, NORTH, SOUTH, Workshop, workshop

pytestmark = pytest.mark.db


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    """An empty workshop on a database of this test alone."""
    with workshop(fresh_database) as made:
        yield made


# What BOB, of the south and with every role, tries with a product of the north.
PROBES: dict[str, Any] = {
    "get": lambda a, id: a.get(id),
    "public": lambda a, id: a.public(id),
    "update": lambda a, id: a.update(id, {"name": "x"}),
    "update nothing": lambda a, id: a.update(id, {}),
    "update version": lambda a, id: a.update(id, {"name": "x"}, version=9),
    "update key": lambda a, id: a.update(id, {"code": "x"}),
    "update tags": lambda a, id: a.update(id, {"tag_ids": []}),
    "replace": lambda a, id: a.replace(id, {"name": "x"}),
    "delete": lambda a, id: a.delete(id),
    "delete version": lambda a, id: a.delete(id, version=9),
    "restore": lambda a, id: a.restore(id),
}


@pytest.mark.parametrize("probe", PROBES)
def test_what_is_another_tenants_is_not_found(works: Workshop, probe: str) -> None:
    works.tags("a")
    theirs = works.product("A", tag_ids=["a"])
    gone = works.product("B")
    with as_identity(BOSS):
        works["products"].delete(gone.id)
    before, joined = works.sql("select * from products order by id"), works.joined(theirs)
    left = works.counts()
    with as_identity(BOB):
        for id in (theirs.id, gone.id):
            with pytest.raises(NotFound):
                PROBES[probe](works["products"], id)
    assert works.sql("select * from products order by id") == before
    assert works.joined(theirs) == joined and works.counts() == left


def test_lists_and_streams_hold_the_own_rows_only(works: Workshop) -> None:
    works.product("A")
    mine = works.product("A", who=BOB)
    with as_identity(BOB):
        assert works["products"].list().rows == [mine]
        assert list(works["products"].stream()) == [mine]


def test_a_reference_to_another_tenants_row_is_a_reference_to_nothing(works: Workshop) -> None:
    with as_identity(ANN):
        theirs = works["makers"].create({"name": "m"})
    mine = works.product("A", who=BOB)
    before = works.counts()
    products = works["products"]
    with as_identity(BOB):
        for call in (
            lambda: products.create({"code": "B", "maker_id": theirs.id}),
            lambda: products.create_many([{"code": "B", "maker_id": theirs.id}]),
            lambda: products.update(mine.id, {"maker_id": theirs.id}),
            lambda: products.replace(mine.id, {"maker_id": theirs.id}),
            lambda: products.upsert_many([{"code": "A", "maker_id": theirs.id}], key="code"),
        ):
            with pytest.raises(Invalid) as caught:
                call()
            assert [e.pointer for e in caught.value.errors] == ["/maker_id"]
    assert works.counts() == before


def test_the_same_keys_and_unique_values_may_be_in_every_tenant(works: Workshop) -> None:
    for who in (ANN, BOB):
        works.product("A", who=who)
        works.tags("a", who=who)
        with as_identity(who):
            works["tags"].update("a", {"label": str(who.tenant)})
    labels = works.sql("select tenant_id, label from tags order by 1")
    assert labels == [(NORTH, str(NORTH)), (SOUTH, str(SOUTH))]
    with as_identity(BOB):
        works["tags"].delete("a")
    assert works.one("select tenant_id from tags") == NORTH


def test_an_upsert_touches_the_own_rows_only(works: Workshop) -> None:
    theirs = works.product("A", name="theirs")
    products = works["products"]
    with as_identity(BOB):
        assert products.upsert_many([{"code": "A", "name": "mine"}], key="code") == (1, 0, 0)
        with pytest.raises(DomainError):
            products.upsert_many([{"id": theirs.id, "code": "C"}], key="id")
        with pytest.raises(DomainError):
            products.create({"code": "C"}, id=theirs.id)
    assert works.sql("select name, version from products where tenant_id = %s", NORTH) == [
        ("theirs", 1)
    ]


def test_events_audit_and_jobs_carry_the_tenant(works: Workshop) -> None:
    works.product("A", who=BOB)
    assert works.sql("select distinct tenant_id from forge_event") == [(SOUTH,)]
    assert works.sql("select distinct tenant_id from forge_audit") == [(SOUTH,)]
    assert works.sql("select distinct metadata from forge_job") == [
        ({"user": "bob", "tenant": str(SOUTH)},)
    ]


def test_nobody_and_somebody_without_a_tenant_are_refused_everywhere(works: Workshop) -> None:
    product = works.product("A")
    calls: list[Any] = [
        lambda call=call: call(works["products"], product.id) for call in PROBES.values()
    ]
    products = works["products"]
    calls += [
        products.list,
        products.tenant,
        lambda: products.create({"code": "B"}),
        lambda: products.create_many([{"code": "B"}]),
        lambda: products.upsert_many([{"code": "B"}], key="code"),
        lambda: products.once("k", "h", lambda conn: (200, [], b"")),
    ]
    before = works.counts()
    everything = frozenset(["boss"])
    for who, error in (
        (ANONYMOUS, Unauthenticated),
        (Identity(user="x", roles=everything), Forbidden),
        (SYSTEM, Forbidden),
    ):
        for call in calls:
            with as_identity(who), pytest.raises(error) as caught:
                call()
            assert error is Unauthenticated or caught.value.code in ("F620", "F605")
    assert works.counts() == before


def test_row_level_security_holds_where_a_predicate_is_forgotten(works: Workshop) -> None:
    works.product("A")
    conn = works.database.connection()
    everything = "select count(*) from products"
    assert db.run(conn, everything) == [(0,)]
    assert db.run(conn, everything, tenant=SOUTH) == [(0,)]
    assert db.run(conn, everything, tenant=NORTH) == [(1,)]
    with as_identity(BOB), db.transaction(conn):
        assert works["products"].list(conn=conn).rows == []
        assert db.run(conn, everything) == [(0,)]
    assert db.run(conn, everything) == [(0,)]


def test_two_tenants_in_one_transaction_each_write_their_own(works: Workshop) -> None:
    conn = works.database.connection()
    with db.transaction(conn):
        for who in (ANN, BOB, ANN):
            with as_identity(who):
                code = f"{works.one('select count(*) from pg_stat_activity')}-{who.user}"
                works["tags"].upsert_many([{"slug": "a", "label": code}], key="slug", conn=conn)
    assert works.sql("select tenant_id, version from tags order by 1")[1] == (SOUTH, 1)


def test_every_action_in_a_tenant_is_one_round_trip(
    fresh_database: TestDatabase, works: Workshop
) -> None:
    with counting_proxy(fresh_database.app_url) as proxy:
        far = Workshop(fresh_database, proxy.url)
        far.database.connection()
        far.tags("a", "b", who=BOSS)
        products = far["products"]
        with as_identity(BOSS):
            products.list()  # reads the size of the table, as once a minute
        with as_identity(BOSS), proxy.counted() as trips:
            made = products.create({"code": "A", "tag_ids": ["a"], "details": {"a": [1]}})
            assert trips() == 1
            products.update(made.id, {"name": "x", "code": "A", "tag_ids": ["b"]}, version=1)
            assert trips() == 2
            products.replace(made.id, {"name": "y"})
            products.update(made.id, {})
            assert trips() == 4
            products.get(made.id)
            products.list()
            assert trips() == 6
            products.delete(made.id)
            products.restore(made.id)
            assert trips() == 8
            far["tags"].delete("a")
            assert trips() == 9
        far.close()


def test_a_tenant_is_no_matter_where_the_resource_has_none(works: Workshop) -> None:
    with as_identity(ANN):
        works["units"].create({"code": "kg"})
    with as_identity(BOB):
        assert works["units"].get("kg").code == "kg"
    assert works.sql("select tenant_id from forge_event") == [(None,)]
    assert works["units"].tenant() is None
    assert isinstance(works.product("A").id, UUID)
