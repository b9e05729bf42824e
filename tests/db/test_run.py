"""run: the rows of one statement in one round trip, with the tenant that policies ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from forge_min import db
from forge_min.errors import Conflict, DatabaseError, Unavailable
from forge_min.testing import TestDatabase

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
    assert caught.value.code == "F405"
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


def test_a_commit_that_fails_is_named_and_its_connection_is_given_up(
    fresh_database: TestDatabase, conn: db.Connection
) -> None:
    with db.connect(fresh_database.owner_url) as owner:
        owner.execute("create table late (v int unique deferrable initially deferred)")
        owner.execute("insert into late values (1)")
        owner.execute("grant all on late to public")
    with pytest.raises((Conflict, Unavailable)) as caught:  # psycopg sometimes drops the reason
        db.run(conn, "insert into late values (1)", tenant=ONE)
    constraint, code = getattr(caught.value, "constraint", ""), caught.value.code
    assert (constraint == "late_v_key" or code == "F406") and conn.closed


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
