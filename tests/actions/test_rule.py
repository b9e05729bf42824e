"""The rule of a resource holds for every way of writing, in the transaction of the write."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from forge_min import db
from forge_min.actions import Actions, Column, Registry, Relation, RowChange
from forge_min.auth import SYSTEM, as_identity
from forge_min.errors import Conflict, ConstraintViolation, DatabaseError, Invalid
from forge_min.testing import TestDatabase

import rule_workshop
from round_trips import counting_proxy
from rule_workshop import CAPACITY, ProductActions, registry_of
from workshop import BOSS, ID, VERSION, Workshop, resource, together, workshop

pytestmark = pytest.mark.db


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    """A workshop in which makers have room for CAPACITY products."""
    with workshop(fresh_database) as made, as_identity(BOSS):
        made.registry = registry_of(made.database)
        yield made


def maker(works: Workshop, name: str = "acme") -> str:
    return str(works["makers"].create({"name": name}).id)


def fill(works: Workshop, maker: str, number: int = CAPACITY) -> list[Any]:
    items = [{"code": f"{maker[-4:]}{n}", "maker_id": maker} for n in range(number)]
    works["products"].create_many(items)
    return sorted(works["products"].list().rows, key=lambda row: row.code)


def test_no_way_of_writing_exceeds_the_capacity(works: Workshop) -> None:
    full, other, products = maker(works), maker(works, "other"), works["products"]
    *_, last = fill(works, full)
    products.delete(last.id)
    products.create({"code": "last", "maker_id": full})
    outside = products.create({"code": "outside", "maker_id": other})
    new = {"code": "new", "maker_id": full}
    before = works.counts()
    ways = {
        "/maker_id": [
            lambda: products.create(new),
            lambda: products.update(outside.id, {"maker_id": full}),
            lambda: products.replace(outside.id, {"code": "outside", "maker_id": full}),
            lambda: products.restore(last.id),
        ],
        "/1/maker_id": [
            lambda: products.create_many([{"code": "free"}, new]),
            lambda: products.upsert_many([{"code": "free"}, new], key="code"),
            lambda: products.upsert_many(
                [{"code": "free"}, {"code": "outside", "maker_id": full}], key="code"
            ),
        ],
    }
    for pointer, calls in ways.items():
        for call in calls:
            with pytest.raises(Invalid) as caught:
                call()
            assert [(e.pointer, e.code) for e in caught.value.errors] == [(pointer, "full")]
            assert works.counts() == before, "nothing of it is left"
    with db.transaction(products.connection()):
        products.update(outside.id, {"name": "kept"})
        with pytest.raises(Invalid):
            products.create(new)
    assert products.get(outside.id).name == "kept"


def test_the_rule_gets_each_row_before_and_after(works: Workshop) -> None:
    seen: list[tuple[Any, ...]] = []

    class Watched(ProductActions):
        def rule(self, changes: Any, conn: db.Connection) -> None:
            assert not db.is_idle(conn)
            for c in changes:
                costs = [row and (row.code, row.cost) for row in (c.before, c.after)]
                seen.append((c.operation, *costs, c.index))

    products = works.registry.add(Watched)
    row = products.create({"code": "a", "cost": "1"})
    products.update(row.id, {"cost": "2"})
    products.update(row.id, {"cost": "2"})
    products.replace(row.id, {"code": "a"})
    products.create_many({"code": code} for code in "bc")
    products.upsert_many([{"code": "a"}, {"code": "b", "cost": "3"}, {"code": "d"}], key="code")
    products.delete(row.id)
    products.restore(row.id)
    one, two, nothing = ("a", 1), ("a", 2), ("a", None)
    assert seen[:3] == [
        ("create", None, one, None),
        ("update", one, two, None),
        ("update", two, nothing, None),
    ]
    assert sorted(seen[3:5]) == [("create", None, (c, None), n) for n, c in enumerate("bc")]
    assert sorted(seen[5:7]) == [
        ("create", None, ("d", None), 2),
        ("update", ("b", None), ("b", 3), 1),
    ]
    assert seen[7:] == [("delete", nothing, None, None), ("restore", None, nothing, None)]


def test_a_write_takes_two_round_trips_more_than_its_rule(works: Workshop) -> None:
    acme = maker(works)
    with counting_proxy(works.database.url) as proxy:
        database = db.Database(proxy.url)
        ruled = registry_of(database).actions["products"]
        plain = Registry(database, {}).add(
            type("Plain", (Actions,), {"resource": ProductActions.resource})
        )
        database.connection()
        trips: dict[str, list[int]] = {"plain": [], "create": [], "delete": []}
        for n in range(8):
            with proxy.counted() as counted:
                plain.create({"code": f"p{n}"})
            trips["plain"].append(counted())
            with proxy.counted() as counted:
                row = ruled.create({"code": f"r{n}", "maker_id": acme})
            trips["create"].append(counted())
            with proxy.counted() as counted:
                ruled.delete(row.id)
            trips["delete"].append(counted())
        assert trips["plain"] == [1] * 8
        # BEGIN and the write; lock; count; COMMIT. psycopg prepares what the rule sends, once.
        assert trips["delete"].count(2 + 2) == trips["create"].count(2 + 2) == 7, trips
        database.close()


FAMILY = """
create table parents (
  id uuid constraint parents_pkey primary key, version bigint not null default 1);
create table children (
  id uuid constraint children_pkey primary key,
  parent_id uuid constraint children_parent_id_fkey references parents on delete cascade,
  friend_id uuid constraint children_friend_id_fkey references parents on delete set null,
  version bigint not null default 1);
"""


def test_cascades_are_changes_of_the_rule_too(works: Workshop) -> None:
    works.owner.execute(FAMILY)
    parents = resource("Parent", "parents", (ID, VERSION), lambda c: c.unknown())

    def check(c: Any) -> None:
        c.uuid("parent_id")
        c.uuid("friend_id")
        c.unknown()

    references = [Column(f"{name}_id", "uuid") for name in ("parent", "friend")]
    children = resource(
        "Child",
        "children",
        (ID, *references, VERSION),
        check,
        relations=(
            Relation("parent", "belongs_to", "parents", "parent_id", on_delete="cascade"),
            Relation("friend", "belongs_to", "parents", "friend_id", on_delete="set_null"),
        ),
    )
    calls: list[list[tuple[str, bool]]] = []
    remaining: list[int] = []

    class Children(Actions[Any, Any, Any]):
        resource = children

        def rule(self, changes: list[RowChange[Any]], conn: db.Connection) -> None:
            calls.append([(c.operation, c.after is None) for c in changes])
            remaining.extend(conn.execute("select count(*) from children").fetchone() or ())
            if refuse:
                changes[0].error("parent_id", "kept", "keeps its parent")

    made = works.registry.add(type("Parents", (Actions,), {"resource": parents}))
    kids = works.registry.add(Children)
    refuse = False
    parent = made.create({})
    for field in ("parent_id", "parent_id", "friend_id"):
        kids.create({field: str(parent.id)})
    calls.clear(), remaining.clear()
    refuse = True
    with pytest.raises(Conflict, match="keeps its parent"):
        made.delete(parent.id)
    assert works.one("select count(*) from children") == 3
    refuse = False
    made.delete(parent.id)
    changes = [("delete", True), ("delete", True), ("update", False)]
    assert [sorted(call) for call in calls] == [changes, changes], "one call for all rows"
    assert remaining == [1, 1], "the rule reads the rows as they are afterwards"


BOOKINGS = """
create extension if not exists btree_gist;
create table accounts (id uuid constraint accounts_pkey primary key);
create table bookings (
  id uuid constraint bookings_pkey primary key, account_id uuid not null references accounts,
  amount integer not null, room_id uuid, starts_at timestamptz, ends_at timestamptz,
  version bigint not null default 1);
"""


def test_the_balance_and_the_bookings_of_the_manual_work(works: Workshop) -> None:
    page = Path(__file__).parents[2].joinpath("docs/develop/rules.md").read_text()
    names = {"Sequence": list, "RowChange": RowChange, "BookingRow": Any, "db": db}
    function = "def " + page.split("```python\ndef ")[1].split("```")[0]
    exec(function, names)  # noqa: S102  (a page of our own)
    constraint = page.split("```sql\n")[1].split("```")[0]
    works.owner.execute(BOOKINGS + constraint)

    def check(c: Any) -> None:
        c.uuid("account_id", required=True)
        c.int("amount", required=True)
        c.uuid("room_id")
        c.datetime("starts_at")
        c.datetime("ends_at")
        c.unknown()

    columns = {"account_id": "uuid", "amount": "int", "room_id": "uuid"}
    columns |= {"starts_at": "datetime", "ends_at": "datetime"}
    bookings = resource(
        "Booking", "bookings", (ID, *(Column(*c) for c in columns.items()), VERSION), check
    )
    made = works.registry.add(
        type("Bookings", (Actions,), {"resource": bookings, "rule": names["rule"]})
    )
    one, two = uuid4(), uuid4()
    works.sql("insert into accounts values (%s), (%s) returning id", one, two)
    deposit = made.create({"account_id": str(one), "amount": 10})
    made.create({"account_id": str(one), "amount": -10})
    for refused in (
        lambda: made.create({"account_id": str(one), "amount": -1}),
        lambda: made.delete(deposit.id),
        lambda: made.update(deposit.id, {"account_id": str(two)}),
    ):
        with pytest.raises(Invalid) as caught:
            refused()
        assert caught.value.errors[0].code == "overdrawn"
    times = [f"2026-12-01T{hour:02}:00:00Z" for hour in (8, 9, 10)]
    stay = {"account_id": str(one), "amount": 0, "room_id": str(uuid4())}
    made.create(stay | {"starts_at": times[0], "ends_at": times[1]})
    made.create(stay | {"starts_at": times[1], "ends_at": times[2]})
    with pytest.raises(ConstraintViolation) as overlap:
        made.create(stay | {"starts_at": times[0], "ends_at": times[2]})
    assert overlap.value.kind == "exclusion"


def test_a_write_in_bulk_is_checked_at_its_end_and_deletes_do_not_wait_for_it(
    works: Workshop,
) -> None:
    full, other, products = maker(works), maker(works, "other"), works["products"]
    first, *_ = fill(works, full)
    items = [
        {"code": "new", "maker_id": full, "name": "x"},
        {"code": first.code, "maker_id": other},
    ]
    assert products.upsert_many(items, key="code") == (1, 1, 0)

    def create(n: int) -> None:
        with as_identity(BOSS):
            for k in range(15):
                acme = works["makers"].create({"name": "short"})
                product = products.create({"code": f"t{n}-{k}", "maker_id": str(acme.id)})
                products.update(product.id, {"maker_id": None})
                works["makers"].delete(acme.id)

    assert together(*(partial(create, n) for n in range(6))) == []


def pass_through(works: Workshop, action: Any) -> None:
    class Ending(ProductActions):
        def rule(self, changes: Any, conn: db.Connection) -> None:
            action(conn)

    with as_identity(BOSS):
        works.registry.add(Ending).create({"code": "ended"})


def test_a_rule_that_ends_its_transaction_is_an_error(works: Workshop) -> None:
    with pytest.raises(DatabaseError):
        pass_through(works, lambda conn: conn.rollback())
    assert works.one("select count(*) from products") == 0


def test_an_error_of_the_rule_itself_rolls_back_and_a_deadlock_is_repeated(works: Workshop) -> None:
    one, two = maker(works), maker(works, "two")
    tries: list[str] = []

    class Crossing(ProductActions):
        def rule(self, changes: Any, conn: db.Connection) -> None:
            first, second = (one, two) if changes[0].after.code == "a" else (two, one)
            tries.append(changes[0].after.code)
            conn.lock_rows("makers", [first])
            if len(tries) < 3:
                conn.execute("select pg_sleep(0.3)")
            conn.lock_rows("makers", [second])
            conn.execute("select 1 / (case when %s = 'c' then 0 else 1 end)", [tries[-1]])

    products = works.registry.add(Crossing)

    def create(code: str) -> None:
        with as_identity(BOSS):
            products.create({"code": code})

    assert together(partial(create, "a"), partial(create, "b")) == []
    assert len(tries) == 3 and works.one("select count(*) from products") == 2
    with pytest.raises(Exception, match="22012"):
        create("c")
    assert works.one("select count(*) from products") == 2
    assert db.is_idle(products.connection())


def test_keys_that_are_taken_meanwhile_are_conflicts_and_leave_no_transaction(
    works: Workshop,
) -> None:
    products = works["products"]
    products.create({"code": "a"})
    with pytest.raises(Conflict):
        products.create({"code": "a"})
    assert db.is_idle(products.connection())
    with as_identity(SYSTEM), db.transaction(products.connection()):
        pass


@pytest.mark.thorough
@pytest.mark.slow
def test_64_threads_and_killed_processes_never_break_the_rule(works: Workshop) -> None:
    for n in range(6):
        maker(works, f"maker {n}")
    script = Path(rule_workshop.__file__)
    command = [sys.executable, script, works.database.url, "4", "16"]
    most = f"select coalesce(max(count), 0) from ({rule_workshop.COUNT} group by 1) counts"
    most = most.replace("= any(%s)", "is not null")
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=script.parent)
            )
            for _ in range(4)
        ]
        for process in running:
            stack.callback(process.kill)
            assert process.stdout is not None and process.stdout.readline() == "started\n"
        for process in running[:2]:
            time.sleep(1)
            process.send_signal(signal.SIGKILL)
            assert works.one(most) <= CAPACITY
        for process in running[2:]:
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0, output
            assert "'done'" in output and "Invalid F603" in output, output
    assert works.one(most) <= CAPACITY
