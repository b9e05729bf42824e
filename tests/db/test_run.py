"""run: the rows of one statement in one round trip, with the tenant that policies ask for."""

from __future__ import annotations

import ctypes
import gc
import json
import threading
import weakref
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from datetime import date
from math import inf
from time import perf_counter
from typing import Any
from uuid import UUID

import psycopg
import pytest
from forge_min import db
from forge_min.db import Database, EmbeddedServer, database
from forge_min.errors import Conflict, DatabaseError, Unavailable
from forge_min.testing import TestDatabase
from psycopg.types import TypeInfo
from psycopg.types.json import Jsonb, set_json_dumps, set_json_loads
from psycopg.types.string import StrDumper

from round_trips import CountingProxy, counting_proxy

pytestmark = pytest.mark.db

ONE = UUID("0190c0de-0000-7000-8000-000000000001")
TWO = UUID("0190c0de-0000-7000-8000-000000000002")
TABLE = """
create table note (tenant_id uuid not null, id int primary key, text text);
alter table note enable row level security;
create policy note_tenant on note
  using (tenant_id = nullif(current_setting('forge.tenant_id', true), '')::uuid);
"""
INSERT = "insert into note values (%(tenant)s, %(id)s, 'x') returning id"
SETTING = "select current_setting('forge.tenant_id', true)"


@pytest.fixture
def proxy(fresh_database: TestDatabase) -> Iterator[CountingProxy]:
    with db.connect(fresh_database.owner_url) as owner:
        owner.execute(TABLE)
    with counting_proxy(fresh_database.app_url) as proxy:
        yield proxy


@pytest.fixture(params=["auto", "off"])
def conn(proxy: CountingProxy, request: pytest.FixtureRequest) -> Iterator[db.Connection]:
    with db.connect(proxy.url, prepare=request.param) as conn:
        yield conn


def insert(conn: db.Connection, tenant: UUID, id: int) -> list[tuple[Any, ...]]:
    return db.run(conn, INSERT, {"tenant": tenant, "id": id}, tenant=tenant)


def test_a_statement_is_one_round_trip_with_a_tenant_and_without(conn, proxy):
    for id in range(8):  # psycopg prepares at the sixth, which joins the pipeline
        with proxy.counted() as trips:
            assert insert(conn, ONE, id) == [(id,)]
        assert trips() == 1
    for id in range(4):
        with proxy.counted() as trips:
            assert db.run(conn, "select %s::int", (id,)) == [(id,)]
        assert trips() == 1


def test_a_tenant_sees_and_writes_its_own_rows_only(conn):
    insert(conn, ONE, 1)
    insert(conn, TWO, 2)
    for tenant, ids in ((ONE, [(1,)]), (TWO, [(2,)])):
        assert db.run(conn, "select id from note", tenant=tenant) == ids
    assert db.run(conn, "select id from note") == []
    with pytest.raises(DatabaseError, match="row-level security"):
        db.run(conn, INSERT, {"tenant": TWO, "id": 3}, tenant=ONE)
    assert db.run(conn, "update note set text = 'y' where id = 2", tenant=ONE) == []
    assert db.run(conn, "select text from note", tenant=TWO) == [("x",)]


def test_the_tenant_ends_with_the_statement_and_with_a_failed_one(conn):
    insert(conn, ONE, 1)
    assert db.run(conn, SETTING) in ([(None,)], [("",)])
    with pytest.raises(Conflict) as caught:
        insert(conn, ONE, 1)
    assert (caught.value.constraint, caught.value.table) == ("note_pkey", "note")
    assert db.run(conn, SETTING) == [("",)]
    assert db.is_idle(conn)
    assert insert(conn, TWO, 2) == [(2,)]


def test_what_fails_leaves_nothing_behind(conn):
    bad = "with a as (insert into note values (%(t)s, 1, 'x')) select 1 / (1 - %(one)s)"
    with pytest.raises(DatabaseError):
        db.run(conn, bad, {"t": ONE, "one": 1}, tenant=ONE)
    assert db.run(conn, "select id from note", tenant=ONE) == []


def test_inside_a_transaction_it_is_part_of_it(conn, proxy):
    with pytest.raises(ZeroDivisionError), db.transaction(conn):
        assert not db.is_idle(conn)
        with proxy.counted() as trips:
            insert(conn, ONE, 1)
        assert trips() == 1
        assert db.run(conn, "select id from note", tenant=ONE) == [(1,)]
        assert db.run(conn, "select id from note", tenant=TWO) == []
        raise ZeroDivisionError
    assert db.run(conn, "select id from note", tenant=ONE) == []
    with db.transaction(conn):
        insert(conn, ONE, 1)
        with pytest.raises(Conflict), db.transaction(conn):
            insert(conn, ONE, 1)
        insert(conn, TWO, 2)
    assert db.run(conn, "select id from note", tenant=TWO) == [(2,)]


def test_a_lost_connection_is_unavailable_and_not_idle(conn, fresh_database):
    with db.connect(fresh_database.app_url) as other:
        other.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
    with pytest.raises(Unavailable) as caught:
        insert(conn, ONE, 1)
    assert caught.value.code == "F409"
    assert conn.closed and not db.is_idle(conn)


def test_an_observer_is_told_of_the_statement_once_and_not_of_the_setting(proxy):
    seen: list[tuple[str, float]] = []
    with db.connect(proxy.url, observe=lambda *told: seen.append(told)) as conn:
        insert(conn, ONE, 1)
        db.run(conn, "select 1")
    assert [name for name, _ in seen] == ["insert", "select"]
    assert all(seconds > 0 for _, seconds in seen)


def test_a_connection_without_autocommit_is_never_idle_for_a_retry(fresh_database):
    with psycopg.connect(fresh_database.app_url) as foreign:
        assert not db.is_idle(foreign)


@pytest.mark.parametrize("tenant", [ONE, None])
def test_a_commit_that_fails_is_named_and_leaves_the_connection_as_it_was(
    fresh_database: TestDatabase, conn: db.Connection, tenant: UUID | None
) -> None:
    with db.connect(fresh_database.owner_url) as owner:
        owner.execute("create table late (v int unique deferrable initially deferred)")
        owner.execute("insert into late values (1)")
        owner.execute("grant all on late to public")
    insert = "insert into late values (%s) returning v"  # by then it has answered with its row
    for n in range(2, 20):
        with pytest.raises(Conflict) as caught:
            db.run(conn, insert, [1], tenant=tenant)
        assert (caught.value.constraint, db.is_idle(conn)) == ("late_v_key", True)
        assert db.run(conn, insert, [n], tenant=tenant) == [(n,)]
    assert len(prepared(conn)) <= 3


def prepared(conn: db.Connection) -> list[str]:
    return [name for (name,) in db.run(conn, "select name from pg_prepared_statements")]


def test_what_is_prepared_is_bounded_and_failures_prepare_nothing_anew(conn):
    for n in range(130):
        for _ in range(7):
            assert db.run(conn, f"select {n} + %s::int", [1]) == [(n + 1,)]
    room = 100 if conn.prepare_threshold is not None else 0
    assert len(prepared(conn)) == room
    for n in range(60):
        with pytest.raises(DatabaseError):
            db.run(conn, f"select of nothing {n // 10} %s", [1], tenant=ONE)
    assert len(prepared(conn)) <= room
    insert(conn, ONE, 1)
    for _ in range(20):
        with pytest.raises(Conflict):
            insert(conn, ONE, 1)
        with pytest.raises(DatabaseError, match="42601"):
            db.run(conn, "select of nothing %s", [1])
        with pytest.raises(DatabaseError), db.transaction(conn):
            with suppress(DatabaseError):
                db.run(conn, "select 1 / %s", [0])
            db.run(conn, "select 2, %s", [2])
    assert db.run(conn, "select 2, %s", [2]) == [(2, 2)]
    assert len(prepared(conn)) <= room


@pytest.mark.parametrize("tenant", [None, ONE])
def test_a_prepared_statement_survives_a_migration_and_a_discard(tenant, conn, fresh_database):
    with db.connect(fresh_database.owner_url) as owner:
        owner.execute("create table wide (v varchar(5)); insert into wide values ('x')")
        owner.execute("grant all on wide to public")
        read = lambda: db.run(conn, "select v from wide where v > %s", [""], tenant=tenant)  # noqa: E731
        for _ in range(8):
            assert read() == [("x",)]
        owner.execute("alter table wide alter v type text")
        assert [read() for _ in range(8)] == [[("x",)]] * 8
        db.run(conn, "deallocate all")
        assert [read() for _ in range(8)] == [[("x",)]] * 8
        with suppress(psycopg.Error), db.transaction(conn):
            for _ in range(8):
                conn.execute("select 3, %s", [1])
            conn.execute("select 1 / 0")
        with db.transaction(conn):  # psycopg has discarded what it and `run` had prepared
            assert read() == [("x",)]
        owner.execute("alter table wide alter v type varchar(9)")
        if conn.prepare_threshold is not None:
            with pytest.raises(Unavailable) as caught, db.transaction(conn):
                read()
            assert caught.value.code == "F406"  # as any transaction that may be tried again
        assert read() == [("x",)]


@pytest.mark.slow
@pytest.mark.thorough
def test_values_and_rows_larger_than_any_buffer_pass_in_one_statement(conn):
    many = ["x" * 1_000_000] * 20
    echo = "select unnest(%s::text[]), %s::bytea"
    for tenant in (None, ONE):
        for _ in range(3):
            rows = db.run(conn, echo, [many, b"\0" * 100], tenant=tenant)
            assert rows == [(text, b"\0" * 100) for text in many]


@pytest.mark.parametrize("tenant", [None, ONE])
def test_an_interrupted_statement_leaves_no_answer_for_the_next(tenant, conn, fresh_database):
    for _ in range(8):
        db.run(conn, "select pg_sleep(%s)", [0], tenant=tenant)
    ident, caught = threading.get_ident(), []
    end = lambda: ctypes.pythonapi.PyThreadState_SetAsyncExc(  # noqa: E731
        ctypes.c_ulong(ident), ctypes.py_object(TimeoutError)
    )
    timer = threading.Timer(0.3, end)
    timer.start()
    try:
        db.run(conn, "select pg_sleep(%s)", [1.5], tenant=tenant)
    except TimeoutError:
        caught.append(conn.closed)
    assert caught == [True]


def test_a_foreign_connection_is_used_as_its_owner_set_it_up(fresh_database):
    ask = "select current_setting('forge.tenant_id', true) as t, %(one)s::int as one"
    with psycopg.connect(fresh_database.app_url, row_factory=psycopg.rows.dict_row) as foreign:
        assert db.run(foreign, ask, {"one": 1}, tenant=ONE) == [(str(ONE), 1)]
        assert foreign.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
    with psycopg.connect(fresh_database.app_url, autocommit=True) as foreign, foreign.pipeline():
        assert db.run(foreign, ask, {"one": 2}, tenant=TWO) == [(str(TWO), 2)]
    with db.connect(fresh_database.app_url) as own, own.pipeline():
        assert db.run(own, ask, {"one": 3}, tenant=TWO) == [(str(TWO), 3)]


def test_begin_and_commit_on_a_lost_connection_are_the_errors_of_the_domain(
    fresh_database: TestDatabase,
) -> None:
    with db.connect(fresh_database.app_url) as other, db.connect(fresh_database.app_url) as app:
        end = "select pg_terminate_backend(%s, 5000)"
        other.execute(end, [app.info.backend_pid])
        with pytest.raises(Unavailable), db.transaction(app):
            raise AssertionError("it has not begun")
    with db.connect(fresh_database.owner_url) as owner:
        owner.execute("create table late (v int unique deferrable initially deferred)")
        with pytest.raises(Conflict), db.transaction(owner):
            owner.execute("insert into late values (1), (1)")
        assert owner.execute("select count(*) from late").fetchone() == (0,)


def test_what_the_session_sets_and_registers_later_counts_at_once(
    fresh_database: TestDatabase,
) -> None:
    """What converts values outlives a statement, and never what it was made from."""
    with db.connect(fresh_database.app_url) as conn:
        for style in ("SQL, MDY", "SQL, DMY", "German", "ISO"):
            conn.execute(f"set datestyle = '{style}'")
            assert db.run(conn, "select date '2024-03-04'") == [(date(2024, 3, 4),)], style
        more = "select timestamptz '2024-01-01 20:00Z', '{\"a\": 1}'::jsonb"
        assert db.run(conn, more)[0][1] == {"a": 1}
        conn.execute("set timezone = 'Asia/Tokyo'")
        set_json_loads(lambda text: "mine", conn)
        ((moment, value),) = db.run(conn, more)
        assert (moment.hour, value) == (5, "mine")


def test_what_a_statement_sets_counts_for_its_own_rows(fresh_database: TestDatabase) -> None:
    with db.connect(fresh_database.app_url) as conn:
        conn.execute("set datestyle = 'SQL, MDY'")
        assert db.run(conn, "select date '2026-04-03'") == [(date(2026, 4, 3),)]
        again = "select set_config('datestyle', 'SQL, DMY', false), date '2026-04-03'"
        assert db.run(conn, again)[0][1] == date(2026, 4, 3)


def test_what_is_set_for_all_of_psycopg_counts_on_new_connections(
    fresh_database: TestDatabase,
) -> None:
    ask = "select '1'::jsonb, %s::jsonb::text"
    set_json_loads(lambda text: "mine")
    set_json_dumps(lambda value: "[]")
    try:
        with db.connect(fresh_database.app_url) as conn:
            assert db.run(conn, ask, (Jsonb({}),)) == [("mine", "[]")]
    finally:
        set_json_loads(json.loads)
        set_json_dumps(json.dumps)
    with db.connect(fresh_database.app_url) as conn:
        assert db.run(conn, ask, (Jsonb({}),)) == [(1, "{}")]


def test_a_type_that_is_known_later_counts_at_once(fresh_database: TestDatabase) -> None:
    class Point(str):
        pass

    with db.connect(fresh_database.owner_url) as conn:
        db.run(conn, "create type pair as (x int, y int)")
        info = TypeInfo.fetch(conn, "pair")
        assert info is not None
        dumper = type("PairDumper", (StrDumper,), {"oid": info.oid})
        conn.adapters.register_dumper(Point, dumper)
        ask, values = "select pg_typeof(%s)::text", ([Point("(1,2)")],)
        assert db.run(conn, ask, values) == [("text[]",)]
        conn.adapters.types.add(info)
        assert db.run(conn, ask, values) == [("pair[]",)]


@pytest.mark.thorough
def test_a_connection_without_references_ends_at_once(
    fresh_database: TestDatabase,
) -> None:
    gc.disable()
    try:
        conn = db.connect(fresh_database.app_url)
        db.run(conn, "select now(), %s", (1,))
        end = weakref.ref(conn)
        with pytest.warns(ResourceWarning):
            del conn
        assert end() is None
    finally:
        gc.enable()


@pytest.fixture
def watched(server: EmbeddedServer) -> Iterator[Database]:
    """Whose reads may take 100 ms."""
    database, token = Database(server.app_url, patience=inf), db.read_timeout.set(0.1)
    yield database
    db.read_timeout.reset(token)
    database.close()


@pytest.mark.parametrize("tenant", [None, UUID(int=1)])
def test_a_read_beyond_its_time_is_cancelled_also_inside_of_a_transaction(
    watched: Database, tenant: UUID | None
) -> None:
    for scope in (nullcontext, db.transaction):
        conn = watched.connection()
        with pytest.raises(Unavailable) as caught, scope(conn):
            db.read(conn, "select pg_sleep(20)", tenant=tenant)
        assert caught.value.code == "F642" and conn.closed
    assert db.read(watched.connection(), "select 1") == [(1,)]


@pytest.mark.parametrize("patient", [True, False])
def test_a_read_whose_cancel_has_no_effect_is_cut_and_may_be_sent_again(
    watched: Database, server: EmbeddedServer, patient: bool
) -> None:
    with counting_proxy(server.app_url) as proxy:
        database = Database(proxy.url, patience=10.0)
        conn = database.connection()
        conn.may_block = patient
        proxy.freeze()
        with pytest.raises(Unavailable) as caught:
            db.read(conn, "select 1")
        assert caught.value.code == "F405" and conn.closed
        assert database._unavailable is None, "a new one can be had"
        assert db.read(database.connection(), "select 1") == [(1,)]
        database.close()


def test_a_late_cancel_meets_no_other_statement(watched: Database) -> None:
    conn = watched.connection()
    assert db.read(conn, "select 1") == [(1,)]
    conn.deadline = perf_counter() + 60
    database._cancel(conn, perf_counter())  # of a read that has ended meanwhile
    assert db.run(conn, "select 1 from pg_sleep(0.2)") == [(1,)]
