"""transaction, after_commit, nudge: a hook runs exactly when what it speaks of is committed."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import psycopg
import pytest
from forge_min.db import after_commit, connect, notifies_in_transaction, nudge, transaction
from forge_min.errors import ConstraintViolation, DatabaseError, Unavailable

pytestmark = pytest.mark.db


@pytest.fixture
def conn(fresh_database):
    with connect(fresh_database.owner_url) as conn:
        conn.execute("create table note (id int primary key)")
        conn.calls = []
        conn.nudger = SimpleNamespace(nudge=conn.calls.append)
        yield conn


def notes(conn) -> list[int]:
    return [row[0] for row in conn.execute("select id from note order by id")]


def test_a_nudge_in_a_transaction_waits_for_the_commit(conn):
    with transaction(conn):
        conn.execute("insert into note values (1)")
        nudge(conn, "e")
        assert conn.calls == []
    assert conn.calls == ["e"]
    assert notes(conn) == [1]


def test_a_nudge_without_a_transaction_goes_at_once(conn):
    nudge(conn, "j:mail")
    assert conn.calls == ["j:mail"]


def test_a_rolled_back_transaction_nudges_nobody(conn):
    with pytest.raises(ZeroDivisionError), transaction(conn):
        nudge(conn, "e")
        raise ZeroDivisionError
    nudge(conn, "after")
    assert conn.calls == ["after"]


def test_an_explicit_rollback_nudges_nobody(conn):
    with transaction(conn):
        conn.execute("insert into note values (1)")
        nudge(conn, "e")
        raise psycopg.Rollback
    assert (conn.calls, notes(conn)) == ([], [])


def test_hooks_of_an_inner_level_wait_for_the_outermost_commit(conn):
    with transaction(conn):
        nudge(conn, "outer")
        with transaction(conn):
            with transaction(conn):
                nudge(conn, "inner")
        assert conn.calls == []
    assert conn.calls == ["outer", "inner"]


@pytest.mark.parametrize("error", [ZeroDivisionError, psycopg.Rollback])
def test_only_the_rolled_back_level_loses_its_hooks(conn, error):
    with transaction(conn):
        nudge(conn, "kept")
        try:
            with transaction(conn):
                conn.execute("insert into note values (1)")
                nudge(conn, "lost")
                with transaction(conn):
                    nudge(conn, "lost too")
                raise error
        except ZeroDivisionError:
            pass
        conn.execute("insert into note values (2)")
        nudge(conn, "also kept")
    assert conn.calls == ["kept", "also kept"]
    assert notes(conn) == [2]


def test_inside_the_callers_own_begin_hooks_are_dropped(conn):
    conn.execute("begin")
    nudge(conn, "a")
    with transaction(conn):
        nudge(conn, "b")
        with transaction(conn):
            nudge(conn, "c")
    conn.execute("commit")
    assert conn.calls == []
    with conn.transaction():
        nudge(conn, "d")
    assert conn.calls == []


def test_on_a_foreign_connection_hooks_are_dropped(fresh_database):
    calls: list[str] = []
    with psycopg.connect(fresh_database.app_url, autocommit=True) as foreign:
        after_commit(foreign, lambda: calls.append("x"))
        nudge(foreign, "e")
        with transaction(foreign):
            after_commit(foreign, lambda: calls.append("y"))
    assert calls == []


def test_inside_a_pipeline_hooks_are_dropped_and_after_it_they_run(conn):
    with conn.pipeline():
        conn.execute("insert into note values (1)")
        nudge(conn, "inside")
    nudge(conn, "after")
    assert conn.calls == ["after"]


def test_a_failed_commit_nudges_nobody(conn):
    conn.execute("create table child (note int references note deferrable initially deferred)")
    with pytest.raises(ConstraintViolation), transaction(conn):
        conn.execute("insert into child values (99)")
        nudge(conn, "e")
    assert conn.calls == []


def test_a_hidden_failure_is_an_error_and_not_a_silent_rollback(conn):
    with pytest.raises(DatabaseError) as caught, transaction(conn):
        conn.execute("insert into note values (1)")
        nudge(conn, "e")
        with pytest.raises(psycopg.Error):
            conn.execute("select 1/0")
    assert caught.value.code == "F411"
    assert (conn.calls, notes(conn)) == ([], [])


def test_a_failure_hidden_in_an_inner_level_can_be_survived(conn):
    with transaction(conn):
        conn.execute("insert into note values (1)")
        with pytest.raises(psycopg.Error), transaction(conn):
            conn.execute("select 1/0")
        nudge(conn, "e")
    assert (conn.calls, notes(conn)) == (["e"], [1])


def test_a_connection_that_dies_unnoticed_is_an_error(conn, fresh_database):
    with pytest.raises(Unavailable) as caught, transaction(conn):
        conn.execute("insert into note values (1)")
        nudge(conn, "e")
        with connect(fresh_database.owner_url) as killer:
            killer.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            conn.execute("select 1")
    assert caught.value.code == "F405"
    assert conn.calls == []
    with connect(fresh_database.owner_url) as other:
        assert notes(other) == []


def test_a_hook_that_raises_is_logged_and_the_others_run(conn, caplog):
    with caplog.at_level(logging.ERROR, logger="forge_min.db"), transaction(conn):
        after_commit(conn, lambda: 1 / 0)
        nudge(conn, "e")
    assert conn.calls == ["e"]
    assert "commit hook" in caplog.text


def test_a_hook_may_use_the_connection_and_open_a_transaction(conn):
    def hook() -> None:
        with transaction(conn):
            conn.execute("insert into note values (7)")
            nudge(conn, "second")

    with transaction(conn):
        after_commit(conn, hook)
    assert (conn.calls, notes(conn)) == (["second"], [7])


def test_without_a_nudger_nothing_happens(conn):
    conn.nudger = None
    with transaction(conn):
        nudge(conn, "e")
    nudge(conn, "e")
    assert conn.calls == []


def test_a_notify_rides_only_where_the_transaction_is_ours(conn):
    asked = []
    conn.nudger.notifies_in_transaction = lambda payload: not asked.append(payload)
    assert notifies_in_transaction(conn, "alone")
    with transaction(conn):
        assert notifies_in_transaction(conn, "inside")
    conn.execute("begin")
    assert not notifies_in_transaction(conn, "the caller's")
    with transaction(conn):
        assert not notifies_in_transaction(conn, "a savepoint of the caller's")
    conn.execute("rollback")
    with psycopg.connect(conn.info.dsn, password=conn.info.password) as foreign:
        assert not notifies_in_transaction(foreign, "e")
    conn.nudger = None
    assert not notifies_in_transaction(conn, "nobody")
    assert asked == ["alone", "inside"]
