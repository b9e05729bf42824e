"""Several servers in one address, a former primary, and commits of which nobody knows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from forge_min import db
from forge_min.db import servers
from forge_min.errors import Unavailable
from forge_min.testing import TestDatabase

from round_trips import counting_proxy

pytestmark = pytest.mark.db


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests have learned of servers."""
    monkeypatch.setattr(servers, "_worked", {})
    monkeypatch.setattr(servers, "_newest", {})


def test_the_server_that_worked_last_is_first_and_a_silent_one_last() -> None:
    given = {"host": "a,b,c", "port": "1,2,3", "dbname": "d"}
    assert servers.in_order(given) == given
    servers.has_worked(servers.Address("b", "2"))
    assert servers.in_order(given) == {"host": "b,a,c", "port": "2,1,3", "dbname": "d"}
    servers.has_worked(servers.Address("c", "3"))
    servers.has_failed(servers.Address("b", "2"))
    assert servers.in_order(given)["host"] == "c,a,b"
    addresses = {"host": "a,b,c", "hostaddr": "1.1.1.1,2.2.2.2,3.3.3.3", "port": "3"}
    servers.has_worked(servers.Address("c", "3"))
    assert servers.in_order(addresses)["hostaddr"] == "3.3.3.3,1.1.1.1,2.2.2.2"
    single = {"host": "a", "port": "1"}
    assert servers.in_order(single) == single and servers.in_order({}) == {}


def test_a_server_of_an_older_timeline_is_refused_on_every_way(
    fresh_database: TestDatabase,
) -> None:
    database = db.Database(fresh_database.app_url)
    held = database.connection()
    own = db.ThreadConnection(lambda: db.connect(fresh_database.app_url))
    own.connection()
    held.execute("create temporary table t (id int)")
    servers._newest[held.cluster] = "000000FF"  # another server was promoted
    for attempt in (
        lambda: db.run(held, "insert into t values (1)"),
        database.connection,
        own.connection,
        lambda: db.connect(fresh_database.app_url),
    ):
        with pytest.raises(Unavailable) as caught:
            attempt()
        assert caught.value.code == "F416"
    with pytest.raises(psycopg.Error):
        held.execute("select 1")
    servers._newest.clear()  # the end of the test connects, too
    database.close()


def test_a_transaction_that_was_begun_before_a_promotion_is_not_committed(
    fresh_database: TestDatabase,
) -> None:
    with db.connect(fresh_database.owner_url) as conn:
        conn.execute("create table t (id int)")
        with pytest.raises(Unavailable) as caught, db.transaction(conn):
            conn.execute("insert into t values (1)")
            servers._newest[conn.cluster] = "000000FF"
    assert caught.value.code == "F416"
    servers._newest.clear()
    with db.connect(fresh_database.owner_url) as conn:
        assert db.run(conn, "select * from t") == []


@pytest.fixture
def slow(fresh_database: TestDatabase) -> Iterator[db.Connection]:
    """A connection to a table whose commits take seconds."""
    with db.connect(fresh_database.owner_url) as conn:
        conn.execute(
            "create table slow (id int);"
            "create function wait() returns trigger language plpgsql"
            " as $$ begin perform pg_sleep(30); return null; end $$;"
            "create constraint trigger wait after insert on slow deferrable initially deferred"
            " for each row execute function wait()"
        )
        yield conn


def cut(conn: db.Connection, other: db.Connection) -> None:
    """As a network that breaks, while the server works for this connection."""
    sleeps = "select 1 from pg_stat_activity where pid = %s and wait_event = 'PgSleep'"
    end = time.monotonic() + 15
    while not other.execute(sleeps, [conn.info.backend_pid]).fetchall():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert conn.shut_down()


def test_a_connection_that_is_lost_in_a_commit_says_that_nobody_knows(
    slow: db.Connection, fresh_database: TestDatabase
) -> None:
    insert = "insert into slow values (1)"

    def in_transaction(conn: db.Connection) -> None:
        with db.transaction(conn):
            conn.execute(insert)

    def read(conn: db.Connection) -> None:
        db.read(conn, "with w as (select pg_sleep(30)) select * from w")

    def inside(conn: db.Connection) -> None:
        with db.transaction(conn):
            db.run(conn, "insert into slow select 1 from pg_sleep(30)")

    for work, code in (
        (lambda conn: db.run(conn, insert), "F409"),
        (lambda conn: db.run_checked(conn, insert, None, None, lambda rows: None), "F409"),
        (in_transaction, "F409"),
        (inside, "F405"),  # certainly undone
        (read, "F405"),
    ):
        with db.connect(fresh_database.owner_url) as conn, ThreadPoolExecutor(1) as pool:
            done = pool.submit(work, conn)
            cut(conn, slow)
            with pytest.raises(Unavailable) as caught:
                done.result(15)
            assert caught.value.code == code, work


def test_a_server_that_is_silent_on_one_connection_is_asked_on_another(
    fresh_database: TestDatabase,
) -> None:
    with counting_proxy(fresh_database.app_url) as proxy:
        database = db.Database(proxy.url, patience=3600.0)
        conn = database.connection()
        with ThreadPoolExecutor(1) as pool:
            with proxy.held():  # new connections, too
                conn.may_block = True
                done = pool.submit(db.run, conn, "select 1")
                with pytest.raises(Unavailable):
                    done.result(60)
        assert db.run(database.connection(), "select 1") == [(1,)]
        database.close()


@pytest.mark.thorough
@pytest.mark.slow
def test_a_statement_that_takes_long_is_left_alone(fresh_database: TestDatabase) -> None:
    database = db.Database(fresh_database.app_url, patience=3600.0)
    names = {thread.name for thread in threading.enumerate()}
    assert db.run(database.connection(), "select 1 from pg_sleep(4)") == [(1,)]
    assert {thread.name for thread in threading.enumerate()} >= names
    database.close()


def test_a_session_that_is_terminated_after_a_commit_does_not_say_that_nothing_was_saved(
    fresh_database: TestDatabase,
) -> None:
    """The server ends it while it reads the position of the commit, as in a fast shutdown."""
    with db.connect(fresh_database.owner_url) as owner:
        owner.execute(
            "create table writes (id int);"
            "create function public.pg_current_wal_insert_lsn() returns pg_lsn language plpgsql as"
            " $$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$"
        )
        for work in (
            lambda conn: db.run(conn, "insert into writes values (1)"),
            lambda conn: db.run_checked(conn, "insert into writes values (1)", None, None, len),
        ):
            with db.connect(fresh_database.owner_url) as conn:
                conn.execute("set search_path = public, pg_catalog")
                conn.records_position = True
                try:
                    work(conn)
                except Unavailable as err:
                    assert err.code == "F409"
        assert owner.execute("select count(*) from writes").fetchone() == (2,)
