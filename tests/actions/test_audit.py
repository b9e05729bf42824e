"""The audit: who changed what from what to what, in the change's own statement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from forge_min import db
from forge_min.actions import Actions, Check, Column, Registry
from forge_min.auth import as_identity
from forge_min.errors import Conflict, Invalid, StaleVersion
from forge_min.observe import log_fields
from forge_min.testing import TestDatabase

from workshop import ANN, BOSS, ID, NORTH, VERSION, Workshop, resource, workshop

pytestmark = pytest.mark.db


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    """An empty workshop on a database of this test alone."""
    with workshop(fresh_database) as made:
        yield made


WHOLE: dict[str, Any] = {
    "code": "A",
    "name": "n",
    "price": "1.50",
    "cost": "0.10",
    "details": {"a": [1, None]},
    "seen_at": "2026-11-25T08:30:00.5+02:00",
}
SHOWN = WHOLE | {"seen_at": "2026-11-25T06:30:00.5Z"}


def test_every_operation_leaves_one_row_with_what_differs(works: Workshop) -> None:
    products = works["products"]
    with as_identity(BOSS):
        made = products.create(WHOLE)
        products.update(made.id, {"price": "2", "details": None, "name": "n"})
        products.replace(made.id, {"name": "m", "price": "2.00"})
        products.delete(made.id)
        products.restore(made.id)
    later = {"code": "A", "name": "m", "price": "2.00"}
    assert works.audit("products") == [
        ("create", 1, {name: [None, value] for name, value in SHOWN.items()}),
        ("update", 2, {"price": ["1.50", "2.00"], "details": [{"a": [1, None]}, None]}),
        (
            "update",
            3,
            {"name": ["n", "m"], "cost": ["0.10", None], "seen_at": [SHOWN["seen_at"], None]},
        ),
        ("delete", 4, {name: [value, None] for name, value in later.items()}),
        ("restore", 5, {name: [None, value] for name, value in later.items()}),
    ]


def test_a_row_says_who_and_where_and_in_which_request(works: Workshop) -> None:
    token = log_fields.set({"request_id": "r-17"})
    try:
        made = works.product("A")
    finally:
        log_fields.reset(token)
    assert works.audit("products", "tenant_id, resource_id, actor, request_id") == [
        (NORTH, str(made.id), "ann", "r-17")
    ]
    works.product("B")
    assert works.audit("products", "request_id")[1] == ("",)


def test_a_hard_deletion_is_logged_too(works: Workshop) -> None:
    with as_identity(ANN):
        made = works["makers"].create({"name": "m"})
        works["makers"].delete(made.id)
    assert works.audit("makers") == [
        ("create", 1, {"name": [None, "m"]}),
        ("delete", 1, {"name": ["m", None]}),
    ]


def test_what_changes_nothing_is_not_logged(works: Workshop) -> None:
    made = works.product("A", name="n")
    products = works["products"]
    with as_identity(BOSS):
        products.update(made.id, {"name": "n", "price": None})
        products.update(made.id, {})
        products.restore(made.id)
        products.upsert_many([{"code": "A", "name": "n"}], key="code")
        for refused in (
            lambda: products.update(made.id, {"name": "x"}, version=7),
            lambda: products.delete(made.id, version=7),
        ):
            with pytest.raises(StaleVersion):
                refused()
        with pytest.raises(Invalid):
            products.update(made.id, {"price": "-1"})
        with pytest.raises(Conflict):
            products.create({"code": "A"})
    assert [operation for operation, _, _ in works.audit("products")] == ["create"]
    assert len(works.events("products")) == 1
    assert works.one("select version from products") == 1


def test_the_log_is_rolled_back_with_the_change(works: Workshop) -> None:
    conn = works.database.connection()
    with as_identity(ANN), pytest.raises(RuntimeError), db.transaction(conn):
        works["products"].create({"code": "A"}, conn=conn)
        raise RuntimeError("after the write")
    assert works.audit("products") == []


def test_bulk_is_logged_row_by_row(works: Workshop) -> None:
    products = works["products"]
    with as_identity(ANN):
        products.create_many([{"code": c, "price": "1"} for c in "AB"])
        products.upsert_many(
            [{"code": "A", "price": "2"}, {"code": "B", "price": "1"}, {"code": "C"}], key="code"
        )
    log = works.audit("products")
    assert sorted((op, version) for op, version, _ in log) == [
        ("create", 1),
        ("create", 1),
        ("create", 1),
        ("update", 2),
    ]
    assert [changes for op, _, changes in log if op == "update"] == [{"price": ["1.00", "2.00"]}]


def test_a_resource_that_is_not_auditable_leaves_none(works: Workshop) -> None:
    works["units"].create({"code": "kg"})
    assert works.one("select count(*) from forge_audit") == 0


@pytest.mark.parametrize("width", [90, 91, 99, 100, 300])
def test_a_row_may_have_more_fields_than_a_function_has_arguments(
    fresh_database: TestDatabase, width: int
) -> None:
    names = [f"f{n}" for n in range(width)]

    def check(c: Check) -> None:
        for name in names:
            c.string(name)
        c.unknown()

    class Sheets(Actions[Any, Any, Any]):
        resource = resource(
            "Sheet",
            "sheets",
            (ID, *(Column(name, "string", unique=name == "f0") for name in names), VERSION),
            check,
            auditable=True,
        )

    with db.connect(fresh_database.owner_url) as owner:
        columns = "".join(f", {name} text" for name in names)
        owner.execute(
            f"create table sheets (id uuid primary key{columns}, version bigint default 1,"
            " unique (f0)); grant all on sheets to public"
        )
    database = db.Database(fresh_database.app_url)
    sheets = Registry(database, {}).add(Sheets)
    last = names[-1]
    with as_identity(ANN):
        made = sheets.create({"f0": "a", last: "z"})
        sheets.update(made.id, {"f0": "b"})
        assert sheets.upsert_many([{"f0": "b", last: "y"}, {"f0": "c"}], key="f0") == (1, 1, 0)
        sheets.delete(made.id)
        log = sheets.audit_log(made.id).rows
    database.close()
    assert [entry.changes for entry in log] == [
        {"f0": ["b", None], last: ["y", None]},
        {last: ["z", "y"]},
        {"f0": ["a", "b"]},
        {"f0": [None, "a"], last: [None, "z"]},
    ]
