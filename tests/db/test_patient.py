"""A connection whose thread nobody interrupts waits inside of libpq; what it finds is the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from forge_min import db
from forge_min.errors import Conflict, Unavailable
from forge_min.testing import TestDatabase

pytestmark = pytest.mark.db


@pytest.fixture
def conn(fresh_database: TestDatabase) -> Iterator[db.Connection]:
    with db.connect(fresh_database.owner_url) as conn:
        conn.may_block = True
        db.run(conn, "create table thing (id int primary key, name text)")
        yield conn


def prepared(conn: db.Connection, sql: str, times: int = 8, **params: object) -> list[object]:
    """The last answer; by then the statement is prepared."""
    return [db.run(conn, sql, params) for _ in range(times)][-1]


def test_rows_and_errors_are_those_of_any_other_connection(conn: db.Connection) -> None:
    for n in range(10):
        db.run(conn, "insert into thing values (%(n)s, %(name)s)", {"n": n, "name": f"thing {n}"})
    assert prepared(conn, "select name from thing where id = %(n)s", n=3) == [("thing 3",)]
    assert prepared(conn, "select name from thing where id = %(n)s", n=99) == []
    with pytest.raises(Conflict) as caught:
        db.run(conn, "insert into thing values (%(n)s, %(name)s)", {"n": 3, "name": "again"})
    assert caught.value.constraint == "thing_pkey"
    db.run(conn, "alter table thing alter id type bigint")  # the prepared ones are out of date
    assert prepared(conn, "select id from thing where id = %(n)s", n=4) == [(4,)]


def test_a_connection_that_is_cut_in_the_middle_is_unavailable_and_closed(
    fresh_database: TestDatabase, conn: db.Connection
) -> None:
    prepared(conn, "select pg_sleep(%(s)s::float8)", s=0)
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            db.run(conn, "select pg_sleep(%(s)s::float8)", {"s": 60})
        except BaseException as err:
            failed.append(err)

    thread = threading.Thread(target=wait)
    thread.start()
    with db.connect(fresh_database.owner_url) as other:
        kill = "select pg_terminate_backend(pid) from pg_stat_activity where query like %(q)s"
        kill += " and state = 'active' and pid <> pg_backend_pid()"
        end = time.monotonic() + 20
        while not db.run(other, kill, {"q": "select pg_sleep%"}):
            assert time.monotonic() < end
    thread.join(20)
    assert not thread.is_alive() and isinstance(failed[0], Unavailable)
    with pytest.raises(Unavailable):
        db.run(conn, "select 1")


def test_others_run_while_it_waits(fresh_database: TestDatabase, conn: db.Connection) -> None:
    prepared(conn, "select pg_sleep(%(s)s::float8)", s=0)
    counted, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            counted[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    db.run(conn, "select pg_sleep(%(s)s::float8)", {"s": 0.3})
    done.set()
    thread.join()
    assert counted[0] > 1000
