"""A server without its synchronous standby: commits wait without a limit of time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from forge_min import db, jobs, notify
from forge_min.actions.idempotency import _once
from forge_min.db import Database, EmbeddedServer
from forge_min.errors import Unavailable

from standbys import missing_standby
from waiting import wait_for

pytestmark = [pytest.mark.db, pytest.mark.alone]

WAITS = """
select coalesce(max(extract(epoch from now() - state_change)) filter (where wait_event = 'SyncRep'),
  0)::float, count(*)
from pg_stat_activity where usename = 'app'
"""


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedServer]:
    """A server of this module's own, since the commits of others would wait, too."""
    with tempfile.TemporaryDirectory(prefix="forge-standby-") as folder:
        with EmbeddedServer(Path(folder) / "postgres", settings={"fsync": "off"}) as started:
            with db.connect(started.owner_url) as conn:
                db.migrate(conn, db.FORGE_MIGRATIONS)
                conn.execute("create table writes (id int); grant all on writes to public")
                conn.execute("grant all on forge_idempotency to public")
            yield started


@contextmanager
def no_standby(own: EmbeddedServer) -> Iterator[Callable[[], tuple[float, int]]]:
    """The function returns the seconds of the longest wait for it, and the number of sessions."""
    with missing_standby(own.admin_url) as admin:
        yield lambda: admin.execute(WAITS).fetchall()[0]


INSERT = "insert into writes values (1)"


def in_transaction(conn: db.Connection) -> None:
    with db.transaction(conn):
        conn.execute(INSERT)


def by_cursor(conn: db.Connection) -> None:
    with db.errors_translated(commits=True):
        conn.execute(INSERT)


def test_a_commit_that_waits_for_a_standby_loses_its_connection(own: EmbeddedServer) -> None:
    database = Database(own.app_url, patience=3600.0)

    def run(work: Callable[[db.Connection], object]) -> tuple[str, bool]:
        conn = database.connection()
        with pytest.raises(Unavailable) as caught:
            work(conn)
        return caught.value.code, conn.closed

    # A connection that was kept could be hit by a late cancel in its next statement.
    ways = [lambda conn: db.run(conn, INSERT), in_transaction, by_cursor]
    with ThreadPoolExecutor(len(ways)) as pool, no_standby(own) as waits:
        assert [*pool.map(run, ways, timeout=30)] == [("F409", True)] * len(ways)
        assert waits()[0] < 3, "only probes wait"
        assert database.standbys.are_missing
    database.close()


@pytest.mark.thorough
def test_a_repetition_is_answered_when_a_standby_has_its_row(own: EmbeddedServer) -> None:
    """The first request has an unknown result (F409); its row would be lost in a failover."""
    request = {"scope": "here", "key": "k", "hash": "h"}

    def save(conn: db.Connection) -> tuple[int, list[tuple[str, str]], bytes]:
        db.run(conn, "insert into writes values (2)")
        return 201, [], b"{}"

    database, other = (Database(own.app_url, patience=3600.0) for _ in range(2))
    with no_standby(own):
        for each in (database, other):
            with pytest.raises(Unavailable) as caught:
                _once(each.connection(), request, save)
            assert caught.value.code == "F409"
    wait_for(lambda: not other.standbys.are_missing)
    assert _once(other.connection(), request, save) == (201, [], b"{}", True)
    rows = other.connection().execute("select id from writes where id = 2").fetchall()
    assert rows == [(2,)]
    for each in (database, other):
        each.close()


@pytest.mark.thorough
def test_behind_a_pooler_commits_do_not_wait_either(
    own: EmbeddedServer, pooled: Callable[..., str]
) -> None:
    database = Database(pooled(own.app_url), direct_url=own.app_url, patience=3600.0)

    def run(sql: str) -> str:
        try:
            db.run(database.connection(), sql)
        except Unavailable as err:
            return err.code
        return ""

    with ThreadPoolExecutor(2) as pool:  # as many as the pooler has sessions
        with no_standby(own) as waits:
            assert [*pool.map(run, [INSERT] * 2, timeout=30)] == ["F409"] * 2
            assert waits()[0] < 3, "only probes wait"
            assert [*map(run, [INSERT, "select 1"])] == ["F419", ""]
        wait_for(lambda: not database.standbys.are_missing)
        assert run(INSERT) == ""
    database.close()


@pytest.mark.thorough
def test_a_slow_statement_does_not_count_as_a_wait_for_a_standby(own: EmbeddedServer) -> None:
    database = Database(own.app_url, patience=3600.0)

    def slow() -> object:
        return db.run(
            database.connection(), INSERT.replace("values (1)", "select 1 from pg_sleep(7)")
        )

    with ThreadPoolExecutor(1) as pool:
        with no_standby(own) as waits:
            inserted = pool.submit(slow)
            wait_for(lambda: waits()[0] > 0.0)
            time.sleep(2.5)  # two probes see it wait
        inserted.result(timeout=30)  # a standby has returned
    assert not database.standbys.are_missing
    database.close()


@pytest.mark.thorough
def test_threads_of_their_own_leave_no_session_that_waits(own: EmbeddedServer) -> None:
    nudger = notify.Nudger(lambda: db.connect(own.app_url))
    database = Database(own.app_url, patience=3600.0, nudger=nudger)
    with ExitStack() as stack:
        stack.callback(database.close)
        stack.callback(nudger.stop)
        nudger.start()
        with no_standby(own) as waits:
            hub = notify.PostgresHub(
                lambda: db.connect(own.app_url), lambda events: lambda event: b"", retention=0.1
            )  # deletes old events all the time
            stack.callback(hub.stop)
            hub.start()
            options = {"heartbeat": 0.5, "rescue_after": 3.0}
            worker = jobs.Worker(database.connection, {}, queues={"default": 1}, **options)
            stack.callback(worker.stop, 5.0)
            worker.start()
            longest = most = 0.0
            end = time.monotonic() + 12
            while time.monotonic() < end:
                longest, most = max(longest, waits()[0]), max(most, waits()[1])
                time.sleep(0.5)
            assert longest < 5 and most <= 6, (longest, most)
