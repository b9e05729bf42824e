"""Actions on a real PostgreSQL, as the app role."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import UUID, uuid4

import pytest
from forge_min import db
from forge_min.actions import JobHook
from forge_min.auth import as_identity
from forge_min.errors import (
    Conflict,
    ConstraintViolation,
    Invalid,
    NotFound,
    StaleVersion,
    Unavailable,
)
from forge_min.testing import TestDatabase

from round_trips import counting_proxy
from workshop import ANN, BOSS, Workshop, together, workshop

pytestmark = pytest.mark.db


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    """An empty workshop on a database of this test alone."""
    with workshop(fresh_database) as made:
        yield made


def flight(example: Any, **fields: object) -> Any:
    country = example.country()
    here, there = example.airport("AAAA", country), example.airport("BBBB", country)
    departs = datetime(2026, 11, 25, 8, 30, tzinfo=UTC)
    return example["flights"].create(
        {
            "number": "FM1",
            "origin_id": str(here.id),
            "destination_id": str(there.id),
            "departs_at": departs.isoformat(),
            "arrives_at": (departs + timedelta(hours=2)).isoformat(),
        }
        | fields
    )


def pointers(error: Invalid) -> set[str]:
    return {e.pointer for e in error.errors}


def test_create_returns_the_row_as_stored_and_get_finds_it(example: Any) -> None:
    made = example.airport("EDDB", example.country(), elevation=157)
    assert made == example["airports"].get(made.id)
    assert made.version == 1 and made.id.version == 7 and made.elevation == 157
    assert made.latitude == Decimal("52.5") and made.created_at.utcoffset() == timedelta(0)


def test_row_event_and_job_of_a_create_come_together(example: Any) -> None:
    made = example.airport("EDDB", example.country())
    events = example.sql(
        "select kind, version, topic from forge_event where resource_id = %s", str(made.id)
    )
    assert events == [("airport.created", 1, "airports")]
    ((kind, queue, args),) = example.sql("select kind, queue, args from forge_job")
    assert (kind, queue) == ("FindNearest", "nearest")
    assert args["resource"] == "Airport" and args["id"] == str(made.id)
    assert args["operation"] == "create" and args["version"] == 1


def test_row_event_and_job_vanish_together_when_the_transaction_rolls_back(example: Any) -> None:
    country = example.country()
    conn = example.registry.database.connection()
    with pytest.raises(RuntimeError), db.transaction(conn):
        example["airports"].create(
            {"icao": "X", "name": "X", "country_id": str(country.id)}
            | {"latitude": 1, "longitude": 1},
            conn=conn,
        )
        raise RuntimeError("after the insert, before the commit")
    assert example.sql("select count(*) from airports") == [(0,)]
    assert example.sql("select count(*) from forge_job") == [(0,)]
    assert example.sql("select count(*) from forge_event where topic = 'airports'") == [(0,)]


def test_a_refused_row_leaves_neither_event_nor_job(example: Any) -> None:
    country = example.country()
    example.airport("EDDB", country)
    with pytest.raises(Conflict) as caught:
        example.airport("EDDB", country)
    assert caught.value.constraint == "airports_icao_key"
    assert [e.pointer for e in caught.value.errors] == ["/icao"]
    assert example.sql("select count(*) from forge_job") == [(1,)]
    assert example.sql("select count(*) from forge_event where topic = 'airports'") == [(1,)]


def test_every_wrong_field_is_reported_at_once(example: Any) -> None:
    with pytest.raises(Invalid) as caught:
        example["airports"].create(
            {
                "icao": "TOOLONG",
                "name": None,
                "latitude": "90.0000001",
                "longitude": 181,
                "elevation": "high",
                "country_id": "42",
                "wings": 2,
            }
        )
    assert pointers(caught.value) == {
        "/icao",
        "/name",
        "/latitude",
        "/longitude",
        "/elevation",
        "/country_id",
        "/wings",
    }


def test_a_reference_to_nothing_names_its_field(example: Any) -> None:
    with pytest.raises(Invalid) as caught:
        example["airports"].create(
            {"icao": "X", "name": "X", "latitude": 1, "longitude": 1, "country_id": str(uuid4())}
        )
    assert [(e.pointer, e.code) for e in caught.value.errors] == [("/country_id", "no_such_row")]


def test_a_referenced_row_is_not_deleted(example: Any) -> None:
    country = example.country()
    example.airport("EDDB", country)
    with pytest.raises(Conflict):
        example["countries"].delete(country.id)
    assert example["countries"].get(country.id) == country


def test_update_changes_what_is_given_and_raises_the_version(example: Any) -> None:
    made = flight(example)
    changed = example["flights"].update(made.id, {"gate": "A1"})
    assert (changed.gate, changed.version, changed.number) == ("A1", 2, "FM1")
    assert changed.updated_at > made.updated_at and changed.created_at == made.created_at
    cleared = example["flights"].update(made.id, {"gate": None})
    assert cleared.gate is None


def test_update_tells_event_and_job_what_changed_and_what_was(example: Any) -> None:
    made = flight(example, gate="A1")
    example["flights"].update(made.id, {"gate": "B2", "number": "FM1", "status": "boarding"})
    ((kind, changed, version),) = example.sql(
        "select kind, changed, version from forge_event where kind = 'flight.updated'"
    )
    assert (kind, sorted(changed), version) == ("flight.updated", ["gate", "status"], 2)
    ((args,),) = example.sql("select args from forge_job where kind = 'NotifyGate'")
    assert args["before"]["gate"] == "A1" and args["version"] == 2
    assert args["operation"] == "update"


def test_an_update_that_changes_nothing_writes_nothing(example: Any) -> None:
    made = flight(example, gate="A1")
    same = example["flights"].update(made.id, {"gate": "A1"})
    assert same == made
    assert example["flights"].update(made.id, {}) == made
    assert example.sql("select count(*) from forge_event where kind = 'flight.updated'") == [(0,)]


def test_replace_gives_absent_fields_their_defaults(example: Any) -> None:
    made = flight(example, gate="A1", status="boarding")
    whole = {
        name: value
        for name, value in example["flights"].resource.to_json(made).items()
        if name in ("number", "origin_id", "destination_id", "departs_at", "arrives_at")
    }
    replaced = example["flights"].replace(made.id, whole)
    assert (replaced.gate, replaced.status, replaced.version) == (None, "scheduled", 2)


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_a_stale_version_is_refused_and_changes_nothing(example: Any, verb: str) -> None:
    made = flight(example)
    now = example["flights"].update(made.id, {"gate": "A1"})
    with pytest.raises(StaleVersion):
        if verb == "update":
            example["flights"].update(made.id, {"gate": "B2"}, version=1)
        else:
            example["flights"].delete(made.id, version=1)
    assert example["flights"].get(made.id) == now


def test_a_fresh_version_is_taken(example: Any) -> None:
    made = flight(example)
    assert example["flights"].update(made.id, {"gate": "A1"}, version=1).version == 2
    example["flights"].delete(made.id, version=2)
    with pytest.raises(NotFound):
        example["flights"].get(made.id)


@pytest.mark.parametrize("verb", ["get", "update", "delete", "replace"])
def test_what_is_not_there_is_not_found(example: Any, verb: str) -> None:
    whole = {"code": "FR", "name": "France"}
    calls: dict[str, Any] = {
        "get": lambda a: a.get(uuid4()),
        "update": lambda a: a.update(uuid4(), {"name": "x"}),
        "replace": lambda a: a.replace(uuid4(), whole),
        "delete": lambda a: a.delete(uuid4()),
    }
    with pytest.raises(NotFound):
        calls[verb](example["countries"])


def test_concurrent_updates_of_one_row_all_count_and_report_the_row_before_them(
    example: Any,
) -> None:
    made = flight(example, gate="0")
    failures: list[BaseException] = []

    def change(worker: int) -> None:
        try:
            for n in range(20):
                example["flights"].update(made.id, {"gate": f"{worker}{n:02}"})
        except BaseException as err:
            failures.append(err)

    threads = [threading.Thread(target=change, args=(w,)) for w in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert example["flights"].get(made.id).version == 81
    jobs = example.sql(
        "select (args->>'version')::int, args->'before'->>'version', args->'before'->>'gate'"
        " from forge_job where kind = 'NotifyGate' order by 1"
    )
    assert [j[0] for j in jobs] == list(range(2, 82))
    assert [int(j[1]) for j in jobs] == list(range(1, 81))
    gates = example.sql(
        "select version from forge_event where kind = 'flight.updated' order by version"
    )
    assert [g[0] for g in gates] == list(range(2, 82))


def test_delete_enqueues_nothing_without_a_hook_but_tells_the_event(example: Any) -> None:
    made = example.country()
    example["countries"].delete(made.id)
    kinds = example.sql("select kind from forge_event order by id")
    assert kinds == [("country.created",), ("country.deleted",)]


def test_create_many_inserts_rows_events_and_jobs_or_nothing(example: Any) -> None:
    country = example.country()
    items = [
        {
            "icao": f"{n:04}",
            "name": f"N{n}",
            "country_id": str(country.id),
            "latitude": "1.5",
            "longitude": "2.5",
        }
        for n in range(2500)
    ]
    own = uuid4()
    items[7]["id"] = str(own)
    assert example["airports"].create_many(items) == 2500
    assert example["airports"].get(own).icao == "0007"
    assert example.sql("select count(*), count(distinct args->>'id') from forge_job") == [
        (2500, 2500)
    ]
    wrong = [{"icao": f"{n:03x}z", "name": "x", "latitude": 1, "longitude": 1} for n in range(1100)]
    for item in wrong:
        item["country_id"] = str(country.id)
    wrong[1050]["name"] = None  # type: ignore[assignment]
    with pytest.raises(Invalid) as caught:
        example["airports"].create_many(wrong)
    assert pointers(caught.value) == {"/1050/name"}
    assert example.sql("select count(*) from airports") == [(2500,)]


def test_rules_of_the_user_are_asked(example: Any) -> None:
    made = flight(example)
    with pytest.raises(Invalid) as caught:
        example["flights"].replace(
            made.id,
            {
                "number": "FM1",
                "origin_id": str(made.origin_id),
                "destination_id": str(made.origin_id),
                "departs_at": "2026-11-25T10:00:00Z",
                "arrives_at": "2026-11-25T09:00:00Z",
            },
        )
    assert pointers(caught.value) == {"/destination_id", "/arrives_at"}


def test_hostile_text_stays_text(example: Any) -> None:
    nasty = "'; drop table flights; -- %(id)s %s {} \\ \" $$"
    made = example["countries"].create({"code": "XX", "name": nasty})
    assert example["countries"].get(made.id).name == nasty
    assert example["countries"].update(made.id, {"name": nasty + "!"}).name == nasty + "!"


def test_a_write_is_one_round_trip(fresh_database: TestDatabase, works: Workshop) -> None:
    with counting_proxy(fresh_database.app_url) as proxy:
        far = Workshop(fresh_database, proxy.url)
        far.database.connection()
        units = far["units"]
        with proxy.counted() as trips:
            units.create({"code": "kg"})
            units.update("kg", {"name": "x", "code": "kg"}, version=1)
            units.replace("kg", {"symbol": "k"}, version=2)
            units.delete("kg", version=3)
            assert trips() == 4
        far.close()


def test_a_deleted_row_is_unseen_until_it_is_restored(works: Workshop) -> None:
    products = works["products"]
    made = works.product("A", name="n")
    with as_identity(BOSS):
        products.delete(made.id)
        for gone in (
            lambda: products.get(made.id),
            lambda: products.public(made.id),
            lambda: products.update(made.id, {"name": "x"}),
            lambda: products.update(made.id, {}),
            lambda: products.replace(made.id, {"name": "x"}),
            lambda: products.delete(made.id),
        ):
            with pytest.raises(NotFound):
                gone()
        assert products.list().rows == []
        assert works.sql("select name, version from products") == [("n", 2)]
        with pytest.raises(StaleVersion):
            products.restore(made.id, version=1)
        back = products.restore(made.id, version=2)
        assert (back.name, back.version, back.deleted_at) == ("n", 3, None)
        assert products.get(made.id) == back == products.restore(made.id)
        with pytest.raises(NotFound):
            products.restore(uuid4())
        with pytest.raises(NotFound):
            works["makers"].restore(uuid4())
    assert [kind for kind, _, _ in works.events("products")] == [
        "product.created",
        "product.deleted",
        "product.restored",
    ]


def test_hooks_are_told_the_operation_and_the_row_before_it(works: Workshop) -> None:
    made = works.product("A", name="n", details={"a": 1})
    with as_identity(BOSS):
        works["products"].delete(made.id)
        works["products"].restore(made.id)
        maker = works["makers"].create({"name": "m"})
        works["makers"].delete(maker.id)
    jobs = [args for (args,) in works.sql("select args from forge_job where kind <> 'Index'")]
    brief = [(a["operation"], a["version"], a.get("before", {}).get("version")) for a in jobs]
    assert sorted(brief[:3]) == [("create", 1, None), ("delete", 2, 1), ("restore", 3, 2)]
    deleted, gone = (a for a in jobs if a["operation"] == "delete")
    assert deleted["before"]["details"] == {"a": 1} and deleted["before"]["deleted_at"] is None
    assert gone["before"] == {"id": str(maker.id), "name": "m", "version": 1}
    assert not {"forge_search", "tenant_id"} & set(deleted["before"])
    restored = "select kind from forge_job where args->>'operation' = 'restore'"
    assert works.sql(restored) == [("Changed",)]  # of after_update


def test_a_unique_job_waits_once_for_a_row(works: Workshop) -> None:
    made = works.product("A")
    with as_identity(BOSS):
        works["products"].update(made.id, {"name": "x"})
        works["products"].update(made.id, {"name": "y"})
    works.product("B")
    assert works.one("select count(*) from forge_job where kind = 'Index'") == 2


def test_a_unique_kind_that_a_hook_names_twice_is_one_job(works: Workshop) -> None:
    base = type(works["products"])
    twice = (JobHook("Index", unique=True), JobHook("Index", unique=True, delay=5))
    hooked = {"resource": base.resource._replace(after_create=twice)}
    products = type("Hooked", (base,), hooked)(works["products"]._database)
    products.registry = works["products"].registry
    with as_identity(ANN):
        products.create({"code": "A", "name": "n"})
    assert works.one("select count(*) from forge_job") == 1


def test_json_comes_back_as_it_went(works: Workshop) -> None:
    value = {"a": [1, "x", None, True, {"b": 1.5}], "': --": "%(id)s"}
    made = works.product("A", details=value)
    assert made.details == value
    with as_identity(BOSS):
        assert works["products"].update(made.id, {"details": value}).version == 1
        assert works["products"].update(made.id, {"details": [1]}).details == [1]
        assert works["products"].update(made.id, {"details": None}).details is None
    assert works.one("select details is null from products")


def test_a_broken_rule_of_another_table_names_no_field(works: Workshop) -> None:
    works.owner.execute(
        "create table others (id integer constraint products_price_min check (id > 1));"
        "grant insert on others to public;"
        "create function other() returns trigger language plpgsql as"
        " $$ begin insert into others values (1); return new; end $$;"
        "create trigger other after insert on products for each row execute function other()"
    )
    with pytest.raises(ConstraintViolation) as caught:
        works.product("A")
    assert (caught.value.constraint, caught.value.table) == ("products_price_min", "others")


def wait_for_lock(works: Workshop) -> None:
    waiting = "select count(*) from pg_locks where not granted"
    deadline = time.monotonic() + 30
    while not works.one(waiting):
        assert time.monotonic() < deadline, "nobody waits"


def test_a_write_that_got_in_anothers_way_is_tried_again(works: Workshop) -> None:
    works["units"].create({"code": "kg"})
    names: list[str] = []

    def change() -> None:
        conn = works.database.connection()
        conn.execute("set default_transaction_isolation = 'repeatable read'")
        names.append(works["units"].update("kg", {"name": "second"}, version=2).name)
        with pytest.raises(Unavailable) as caught, db.transaction(conn):
            conn.execute("select 1 from units")
            works.owner.execute("update units set version = version + 1")
            works["units"].update("kg", {"name": "third"}, version=3)
        assert caught.value.code == "F406"

    with db.transaction(works.owner):
        works.owner.execute("update units set name = 'first', version = 2")
        other = threading.Thread(target=lambda: raised.extend(together(change)))
        raised: list[BaseException] = []
        other.start()
        wait_for_lock(works)
    other.join(30)
    assert raised == [] and names == ["second"]


def test_reads_and_writes_replace_a_connection_that_was_lost_while_idle(works: Workshop) -> None:
    units = works["units"]
    units.create({"code": "kg"})

    def cut() -> None:
        lost = works.database.connection()
        with works.database.open() as other:
            other.execute("select pg_terminate_backend(%s, 5000)", [lost.info.backend_pid])
        lost.last_used = 0.0  # long ago

    cut()
    assert units.get("kg").version == 1
    cut()
    assert units.create({"code": "g"}).version == 1
    conn = works.database.connection()
    with pytest.raises(Unavailable), db.transaction(conn):
        conn.execute("select 1")
        cut()
        units.get("kg")
    assert units.get("kg").version == 1


def test_ids_are_ordered_by_time() -> None:
    from forge_min.actions import uuid7

    ids = [uuid7() for _ in range(2000)]
    assert len(set(ids)) == 2000 and all(i.version == 7 for i in ids)
    assert all(isinstance(i, UUID) and i.variant == "specified in RFC 4122" for i in ids)
    stamps = [i.int >> 80 for i in ids]
    assert stamps == sorted(stamps)


SLOW_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(id, now);
  if (id == CLOCK_REALTIME) now->tv_sec -= 3600;
  return result;
}
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_ids_of_a_host_with_a_slow_clock_are_in_the_order_of_the_database(
    fresh_database: TestDatabase, tmp_path: Path
) -> None:
    from forge_min.actions import uuid7

    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(SLOW_CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    code = """
        import sys, time
        from forge_min import actions, db
        with db.connect(sys.argv[1]):
            print(time.time(), actions.uuid7())
    """
    command = [sys.executable, "-c", dedent(code), fresh_database.app_url]
    environ = os.environ | {"LD_PRELOAD": str(library)}
    with db.connect(fresh_database.app_url):
        before = uuid7()
        output = subprocess.check_output(command, env=environ, text=True, timeout=60)
        after = uuid7()
    its_time, its_id = output.split()
    assert float(its_time) * 1000 < before.int >> 80, "the clock of the process is slow"
    assert before < UUID(its_id) < after


def test_no_two_threads_nor_processes_draw_the_same_id() -> None:
    from forge_min.actions import uuid7

    uuid7()  # some of what was drawn is left, for the child too
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(theirs, b"".join((uuid7().int & (1 << 62) - 1).to_bytes(8) for _ in range(300)))
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe, ThreadPoolExecutor(8) as pool:
        drawn = list(
            pool.map(lambda _: [uuid7().int & (1 << 62) - 1 for _ in range(300)], range(8))
        )
        childs = pipe.read()
    os.waitpid(pid, 0)
    found = [number for each in drawn for number in each]
    found += [int.from_bytes(childs[at : at + 8]) for at in range(0, len(childs), 8)]
    assert len(found) == len(set(found)) == 2700
