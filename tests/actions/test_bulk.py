"""Writing in bulk: create_many and upsert_many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from forge_min import db
from forge_min.actions import Actions, Check, Registry
from forge_min.auth import as_identity
from forge_min.errors import BadRequest, Conflict, Invalid, Unavailable
from forge_min.testing import TestDatabase

from workshop import ANN, BOSS, MAKERS, PRODUCTS, TAGS, Workshop, together, workshop

pytestmark = pytest.mark.db


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    """An empty workshop on a database of this test alone."""
    with workshop(fresh_database) as made:
        yield made


def codes(error: Invalid) -> dict[str, str]:
    return {e.pointer: e.code for e in error.errors}


def test_create_many_takes_every_type_and_gives_defaults(works: Workshop) -> None:
    items = [
        {"code": "A", "price": "1.5", "details": {"a": 1}, "seen_at": "2026-01-01T00:00:00Z"},
        {"code": "B", "name": "b", "id": str(uuid4())},
    ]
    with as_identity(ANN):
        assert works["products"].create_many(items) == 2
        assert works["products"].create_many([]) == 0
    rows = works.sql("select code, name, price::text, details from products order by code")
    assert rows == [("A", "none", "1.50", {"a": 1}), ("B", "b", None, None)]
    assert works.one("select id::text from products where code = 'B'") == items[1]["id"]


def test_an_upsert_inserts_updates_and_leaves_alone(works: Workshop) -> None:
    products = works["products"]
    with as_identity(ANN):
        products.create_many([{"code": c, "price": "1", "name": "n"} for c in ("A", "B")])
        before = len(works.events("products"))
        found = products.upsert_many(
            [{"code": "A", "price": "2"}, {"code": "B", "price": "1.0"}, {"code": "C"}],
            key="code",
        )
    assert found == (1, 1, 1) and found.inserted == 1
    rows = works.sql("select code, price::text, name, version from products order by 1")
    assert rows == [("A", "2.00", "n", 2), ("B", "1.00", "n", 1), ("C", None, "none", 1)]
    new = works.events("products")[before:]
    assert sorted(new, key=str) == [
        ("product.created", 1, None),
        ("product.updated", 2, ["price"]),
    ]
    jobs = works.sql(
        "select kind, args ->> 'operation', args -> 'before' ->> 'price' from forge_job"
        " where kind in ('Made', 'Changed') order by id"
    )
    assert sorted(jobs[2:], key=str) == [("Changed", "update", "1.00"), ("Made", "create", None)]
    ((before_keys,),) = works.sql(
        "select array_agg(k) from forge_job, jsonb_object_keys(args -> 'before') k"
        " where kind = 'Changed'"
    )
    assert "forge_search" not in before_keys and "tenant_id" not in before_keys


def test_arguments_of_jobs_hold_no_personal_values(works: Workshop) -> None:
    """Operators see arguments, and jobs outlive rows: a job reads personal fields from its row."""
    columns = [c._replace(personal=c.name in ("code", "name")) for c in PRODUCTS.columns]
    resource = PRODUCTS._replace(columns=tuple(columns))
    registry = Registry(works.database, {}, secret=b"of another registry")
    for each in (resource, MAKERS, TAGS):
        registry.add(type(each.name + "Actions", (Actions,), {"resource": each}))
    products: Any = registry.actions["products"]
    with as_identity(BOSS):
        made = products.create({"code": "Ada", "name": "Ada", "price": "1"})
        products.update(made.id, {"name": "Eva"})
        products.upsert_many([{"code": "Ada", "name": "Ida"}], key="code")
        products.delete(made.id)
    rows = works.sql("select args from forge_job order by id")
    assert not any(name in str(rows) for name in ("Ada", "Eva", "Ida"))
    before = [args["before"] for (args,) in rows if "before" in args]
    assert [row["price"] for row in before] == ["1.00"] * 3
    assert not {"code", "name"} & {*before[0], *before[-1]}


def test_an_upsert_writes_only_what_an_item_gives(works: Workshop) -> None:
    products = works["products"]
    with as_identity(ANN):
        products.create_many([{"code": "A", "price": "1", "name": "a"}])
        items = [{"code": "A", "name": "b"}, {"code": "A", "price": None}, {"code": "A"}]
        assert products.upsert_many(items, key="code") == (0, 2, 1)
    assert works.sql("select name, price, version from products") == [("b", None, 3)]


def test_an_upsert_by_the_primary_key(works: Workshop) -> None:
    products = works["products"]
    made = works.product("A")
    other = uuid4()
    with as_identity(ANN):
        items = [{"id": str(made.id), "code": "A", "name": "x"}, {"id": other, "code": "B"}]
        assert products.upsert_many(items, key="id") == (1, 1, 0)
        with pytest.raises(Invalid) as caught:
            products.upsert_many([{"id": other, "code": "Z"}, {"code": "A"}], key="id")
        assert codes(caught.value) == {"/1/id": "required"}
        with pytest.raises(Invalid) as caught:
            products.upsert_many([{"id": other, "code": "Z"}], key="id")
        assert codes(caught.value) == {"/0/code": "immutable"}
        with pytest.raises(Conflict):
            products.upsert_many([{"id": uuid4(), "code": "A"}], key="id")


def test_a_deleted_row_is_no_row_of_its_unique_value_but_keeps_its_key(works: Workshop) -> None:
    products = works["products"]
    made = works.product("A")
    with as_identity(BOSS):
        products.delete(made.id)
        with pytest.raises(Invalid) as caught:
            products.upsert_many([{"id": made.id, "code": "A"}], key="id")
        assert codes(caught.value) == {"/0/id": "deleted"}
        assert products.upsert_many([{"code": "A"}], key="code") == (1, 0, 0)
        assert products.upsert_many([{"code": "A"}], key="code") == (0, 0, 1)
        with pytest.raises(Conflict) as taken:
            products.restore(made.id)
    assert [e.pointer for e in taken.value.errors] == ["/code"]


def test_wrong_items_are_all_named_and_nothing_is_kept(works: Workshop) -> None:
    products = works["products"]
    before = works.counts()
    with as_identity(ANN):
        with pytest.raises(Invalid) as caught:
            products.upsert_many(
                [{"code": "A"}, {"name": "x"}, {"code": "B", "price": "x"}, {"code": "C", "no": 1}]
                + [{"code": "D", "tag_ids": []}],
                key="code",
            )
        assert codes(caught.value) == {
            "/1/code": "required",
            "/2/price": "type",
            "/3/no": "unknown",
            "/4/tag_ids": "unknown",
        }
        with pytest.raises(Invalid):
            products.upsert_many([{"code": "A"}, {"code": "B", "maker_id": uuid4()}], key="code")
        for key in ("name", "nothing"):
            with pytest.raises(BadRequest, match="id, code"):
                products.upsert_many([{"code": "A"}], key=key)
    assert works.counts() == before


def test_many_batches_are_one_transaction(works: Workshop) -> None:
    products = works["products"]
    items = [{"code": f"{n:05}", "price": n} for n in range(2100)]
    with as_identity(ANN):
        assert products.upsert_many(items, key="code") == (2100, 0, 0)
        changed = [item | {"price": 7} for item in items]
        assert products.upsert_many(changed, key="code") == (0, 2099, 1)
        with pytest.raises(Invalid) as caught:
            products.upsert_many(
                (item | {"price": "x" if n == 2050 else 8} for n, item in enumerate(items)),
                key="code",
            )
    assert codes(caught.value) == {"/2050/price": "type"}
    assert works.one("select count(*) from products where price = 7") == 2100


def test_upserts_of_the_same_values_at_once_make_each_row_once(works: Workshop) -> None:
    def load(price: int) -> None:
        with as_identity(ANN):
            for _ in range(5):
                items = [{"code": f"{n:03}", "price": price} for n in range(60)]
                works["products"].upsert_many(items if price % 2 else items[::-1], key="code")

    assert together(*[lambda price=price: load(price) for price in range(4)]) == []
    assert works.one("select count(*) from products") == 60
    log = works.sql("select count(*), count(distinct (resource_id, version)) from forge_audit")
    total = works.one("select sum(version) from products")
    assert log == [(total, total)]
    broken = works.sql(
        "select 1 from forge_audit b join forge_audit a on a.resource_id = b.resource_id"
        " and a.version = b.version + 1"
        " where b.changes -> 'price' -> 1 <> a.changes -> 'price' -> 0"
    )
    assert broken == []


def test_an_upsert_that_another_got_in_the_way_of_is_tried_again_as_a_whole(
    works: Workshop, fresh_database: TestDatabase
) -> None:
    with db.connect(fresh_database.owner_url) as owner:
        owner.execute("create sequence tries; grant all on tries to public")
        owner.execute("""
            create function in_the_way() returns trigger language plpgsql as $$ begin
              if new.code = 'last' and nextval('tries') <= 2 then
                raise exception using errcode = '40P01'; end if;
              return new; end $$;
            create trigger in_the_way before insert on products
              for each row execute function in_the_way()""")
    items = [{"code": f"{n:04}"} for n in range(1000)] + [{"code": "last"}]
    with as_identity(ANN):
        assert works["products"].upsert_many(items, key="code").inserted == 1001
        owner_sees = works.sql("select count(*) from products")
        assert owner_sees == [(1001,)]
        with db.connect(fresh_database.owner_url) as owner:
            owner.execute("truncate products cascade; alter sequence tries restart")
        with pytest.raises(Unavailable) as caught:
            works["products"].upsert_many(iter(items), key="code")
    assert caught.value.code == "F406"
    assert works.sql("select count(*) from products") == [(0,)]


@pytest.mark.parametrize("write", ["create_many", "upsert_many"])
def test_items_are_validated_once_although_the_transaction_conflicts(
    works: Workshop, write: str
) -> None:
    validated: list[str] = []
    tried: list[int] = []

    class Conflicting(Actions[Any, Any, Any]):
        resource = PRODUCTS

        def validate(self, check: Check) -> None:
            validated.append(check.values["code"])

        def rule(self, changes: Any, conn: db.Connection) -> None:
            tried.append(len(changes))
            if len(tried) < 3:
                raise Unavailable("conflicts", code="F406")

    products = works.registry.add(Conflicting)
    options = {"key": "code"} if write == "upsert_many" else {}
    with as_identity(ANN):
        getattr(products, write)([{"code": "a"}, {"code": "b"}], **options)
    assert works.one("select count(*) from products") == 2
    assert validated == ["a", "b"] and tried == [2, 2, 2]
