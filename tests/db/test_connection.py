"""connect and Database: what a connection is like, and what a person reads when there is none."""

from __future__ import annotations

import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from forge_min.db import Database, connect, run, transaction
from forge_min.db.translate import connection_error
from forge_min.errors import ConfigError, ForgeError, Unavailable
from forge_min.testing import TestDatabase
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from round_trips import counting_proxy

SECRET = "hunter2-very-secret"


@pytest.mark.db
def test_a_connection_is_in_autocommit_and_gives_tuples(fresh_database):
    with connect(fresh_database.app_url, application_name="me") as conn:
        assert conn.autocommit
        row = conn.execute("select current_setting('application_name'), 1").fetchone()
        assert row == ("me", 1)


@pytest.mark.db
@pytest.mark.parametrize("free", [0, 1])
def test_without_a_descriptor_there_is_no_connection_now(
    fresh_database: TestDatabase, free: int
) -> None:
    """One is libpq's socket, the next what psycopg waits with."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + free, before[1]))
    try:
        with pytest.raises(Unavailable):
            connect(fresh_database.app_url)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    connect(fresh_database.app_url).close()


@pytest.mark.db
def test_the_url_wins_over_our_defaults(fresh_database):
    url = make_conninfo(fresh_database.app_url, application_name="theirs", keepalives_idle=77)
    with connect(url) as conn:
        given = conn.info.get_parameters()
        assert given["keepalives_idle"] == "77"
        assert given["keepalives_count"] == "3"
        assert given["application_name"] == "theirs"


@pytest.mark.db
@pytest.mark.parametrize(("prepare", "expected"), [("auto", 1), ("off", 0)])
def test_prepare_off_prepares_nothing(fresh_database, prepare, expected):
    with connect(fresh_database.app_url, prepare=prepare) as conn:
        for _ in range(8):
            conn.execute("select 1 where 1 = %s", [1])
        count = conn.execute("select count(*) from pg_prepared_statements where not from_sql")
        assert count.fetchone() == (expected,)


@pytest.mark.db
def test_observe_hears_of_every_statement(fresh_database):
    heard: list[tuple[str, float]] = []
    with connect(fresh_database.app_url, observe=lambda *each: heard.append(each)) as conn:
        conn.execute("select 1")
        conn.execute("  WITH a as (select 1) select * from a")
        conn.execute("explain select 1")
        with pytest.raises(psycopg.Error):
            conn.execute("select nothing_like_it")
    assert [operation for operation, _ in heard] == ["select", "with", "other", "select"]
    assert all(0 < seconds < 60 for _, seconds in heard)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@host:notaport:5/x",
        f"postgresql://me:{SECRET}@[::1/x",
        f"host=x password={SECRET} nonsense",
        f"postgresql://me:{SECRET}%zz@localhost/x",
    ],
)
def test_a_malformed_url_is_a_config_error_without_the_password(url):
    with pytest.raises(ForgeError) as caught:
        connect(url)
    _is_clear(caught.value)
    assert isinstance(caught.value, ConfigError) or caught.value.code == "F401"


def test_a_refused_connection_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable) as caught:
            connect(f"postgresql://me:{SECRET}@127.0.0.1:{port}/x")
    assert caught.value.message == f"nothing listens at 127.0.0.1:{port}"
    _is_clear(caught.value)


def test_an_unknown_host_is_one_clear_line():
    with pytest.raises(Unavailable) as caught:
        connect(f"postgresql://me:{SECRET}@no-such-host.invalid/x")
    assert "no-such-host.invalid" in caught.value.message
    _is_clear(caught.value)


def test_a_missing_socket_is_one_clear_line(tmp_path):
    with pytest.raises(Unavailable) as caught:
        connect(f"host={tmp_path} password={SECRET}")
    assert "no PostgreSQL socket" in caught.value.message
    _is_clear(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('server certificate for "a" does not match host name "b"', "TLS"),
        ('root certificate file "/x" does not exist', "TLS"),
        ('"10.0.0.1", port 5432 failed: Network is unreachable', "no network route to db:5432"),
        ('"10.0.0.1", port 5432 failed: No route to host', "no network route to db:5432"),
        ("server closed the connection unexpectedly", "db:5432 closed the connection"),
        ('definition of service "x" not found', "service"),
        ('FATAL:  unrecognized configuration parameter "foo"', "options="),
        ('invalid port number: "99999"', "an invalid value"),
        ("server is not in hot standby mode", "target_session_attrs"),
        ("session is not read-only", "target_session_attrs"),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", "is unknown"),
        ("FATAL:  sorry, too many clients already", "has no free connection for user me"),
        ('FATAL:  too many connections for role "me"', "has no free connection"),
        ('FATAL:  too many connections for database "x"', "has no free connection"),
        ("remaining connection slots are reserved for roles with", "has no free connection"),
        ("could not create socket: Too many open files", "no free file descriptor"),
        ("something new", "rejects the connection"),
    ],
)
def test_what_libpq_says_is_told_as_what_it_means(text, expected):
    assert expected in connection_error(text, {"host": "db", "user": "me"}).message


@pytest.mark.db
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"password": SECRET}, "rejects the password of user app"),
        ({"user": "stranger", "password": SECRET}, "user stranger"),
        ({"dbname": "nowhere"}, "database nowhere does not exist"),
        ({"sslmode": "require"}, "TLS"),
    ],
)
def test_each_refusal_says_what_to_correct(fresh_database, change, expected):
    url = make_conninfo(fresh_database.app_url, **change)
    with pytest.raises(Unavailable) as caught:
        connect(url)
    assert expected in caught.value.message
    assert conninfo_to_dict(url)["password"] not in str(caught.value.message)
    _is_clear(caught.value)


def _is_clear(err: ForgeError) -> None:
    said = f"{err.message} {err.hint} {err!r} {err.__cause__!r}"
    assert SECRET not in said
    assert "\n" not in err.message
    assert err.hint


@pytest.mark.db
def test_each_thread_has_its_own_connection_and_keeps_it(fresh_database):
    database = Database(fresh_database.app_url)
    mine = database.connection()
    seen = []

    def other() -> None:
        seen.append(database.connection())
        seen.append(database.connection())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert database.connection() is mine
    assert seen[0] is seen[1] is not mine
    database.close()
    database.close()
    assert mine.closed and seen[0].closed


@pytest.mark.db
def test_each_new_connection_is_shown_to_opened_once(fresh_database):
    seen: list[object] = []
    database = Database(fresh_database.app_url, opened=seen.append)
    first = database.connection()
    assert database.connection() is first
    first.close()
    second = database.connection()
    with database.open() as third:
        assert seen == [first, second, third]
    database.close()


@pytest.mark.db
def test_a_finished_threads_connection_is_closed_when_another_thread_comes(fresh_database):
    database = Database(fresh_database.app_url)
    seen = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: seen.append(database.connection()))
        thread.start()
        thread.join()
    assert [conn.closed for conn in seen] == [True, True, False]
    database.close()


@pytest.mark.db
def test_idle_threads_of_the_server_give_their_connections_back(
    fresh_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forge_min.db.database._CHECK_INTERVAL", 0.001)
    opened: list[Any] = []

    def open_one(conn: Any) -> None:
        conn.may_block = True
        opened.append(conn)

    with connect(fresh_database.owner_url) as watch:
        database = Database(fresh_database.app_url, opened=open_one, patience=9, idle=0.05)

        def work(number: int) -> None:
            for n in range(40):
                assert run(database.connection(), "select %s::int", [n]) == [(n,)]
                time.sleep(0.05 + 0.002 * number if n % 3 else 0.0)  # while it may be closed

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
            user = conninfo_to_dict(fresh_database.app_url)["user"]
            others = "select count(*) from pg_stat_activity where usename = %s"
            end = time.monotonic() + 15
            while watch.execute(others, [user]).fetchone()[0]:
                assert time.monotonic() < end, "connections stay open"
                time.sleep(0.02)
            assert len(opened) > 4 and all(conn.closed for conn in opened)
        database.close()


def test_a_killed_connection_is_replaced_at_the_next_use(fresh_database):
    database = Database(fresh_database.app_url)
    first = database.connection()
    with connect(fresh_database.owner_url) as owner, connect(fresh_database.app_url) as killer:
        assert owner
        killer.execute("select pg_terminate_backend(%s)", [first.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        first.execute("select 1")
    second = database.connection()
    assert second is not first
    assert second.execute("select 1").fetchone() == (1,)
    database.close()


def terminated(url: str, conn: psycopg.Connection[Any]) -> None:
    """End the connection's backend, and return when its socket has the end."""
    with connect(url) as killer:
        killer.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
    assert select.select([conn.fileno()], [], [], 20)[0]


@pytest.mark.db
def test_a_connection_that_was_lost_while_idle_is_replaced_before_its_use(
    fresh_database: TestDatabase,
) -> None:
    database = Database(fresh_database.app_url)
    first = database.connection()
    terminated(fresh_database.app_url, first)
    first.last_used = 0.0  # long ago
    second = database.connection()
    assert second is not first and first.closed
    assert run(second, "select 1") == [(1,)]
    database.close()


@pytest.mark.db
def test_one_lost_connection_has_those_of_other_threads_checked(
    fresh_database: TestDatabase,
) -> None:
    """Only what answers no more is replaced: a session may hold locks and settings."""
    with counting_proxy(fresh_database.app_url) as proxy:
        database, proxied = Database(fresh_database.app_url), Database(proxy.url)
        with ThreadPoolExecutor(1) as other:
            alive = other.submit(database.connection).result()
            frozen = other.submit(proxied.connection).result()
            mine = [database.connection(), proxied.connection()]
            proxy.freeze()
            terminated(fresh_database.app_url, mine[0])
            with pytest.raises(Unavailable):
                run(mine[0], "select 1")
            mine[1].mark_lost()
            assert mine[0].closed
            with proxy.counted() as trips:
                assert other.submit(database.connection).result() is alive
                replaced = other.submit(proxied.connection).result()
                assert replaced is not frozen and trips() > 0
                assert other.submit(run, replaced, "select 1").result() == [(1,)]
        database.close()
        proxied.close()


@pytest.mark.db
@pytest.mark.parametrize("idle", [True, False])
def test_a_connection_that_a_firewall_has_forgotten_is_replaced_before_its_use(
    fresh_database: TestDatabase, idle: bool
) -> None:
    """When it was idle for long, and whenever somebody was told that the database is well."""
    with counting_proxy(fresh_database.app_url) as proxy, ThreadPoolExecutor(1) as other:
        database = Database(proxy.url)
        forgotten = other.submit(database.connection).result()
        proxy.freeze()
        if idle:
            forgotten.last_used -= 6.0
        else:
            assert database.verified() is not forgotten, "it is new"
        replaced = other.submit(database.connection).result()
        assert replaced is not forgotten and forgotten.closed
        assert other.submit(run, replaced, "select 1").result() == [(1,)]
        database.close()


@pytest.mark.db
def test_a_thread_whose_read_ignores_its_cancel_is_no_verified_database(
    fresh_database: TestDatabase,
) -> None:
    database = Database(fresh_database.app_url)
    with ThreadPoolExecutor(1) as other:
        waits = other.submit(database.connection).result()
        waits.may_block, waits.busy_since, waits.deadline = True, 1.0, 2.0
        assert database.verified() is database.connection()
        waits.cancelled = waits.deadline
        with pytest.raises(Unavailable, match="1 threads wait"):
            database.verified()
    database.close()


@pytest.mark.db
def test_a_thread_that_waits_on_a_lost_connection_is_no_verified_database(
    fresh_database: TestDatabase,
) -> None:
    database = Database(fresh_database.app_url)
    with ThreadPoolExecutor(1) as other:
        waits = other.submit(database.connection).result()
        waits.may_block = True
        waiting = other.submit(run, waits, "select pg_sleep(60)")
        terminated(fresh_database.app_url, database.connection())
        with suppress(Unavailable):
            run(database.connection(), "select 1")
        until = time.monotonic() + 20
        while not waits.busy_since:
            assert time.monotonic() < until
        with pytest.raises(Unavailable, match="1 threads wait") as caught:
            database.verified()
        assert caught.value.code == "F405"
        waits.cancel_safe()
        with pytest.raises(Unavailable):
            waiting.result()
    assert database.verified() is database.connection()
    database.close()


@pytest.mark.db
def test_a_database_is_verified_after_the_loss_of_a_connection_to_another_server(
    fresh_database: TestDatabase,
) -> None:
    database = Database(fresh_database.app_url)
    with counting_proxy(fresh_database.app_url) as proxy, ThreadPoolExecutor(1) as other:
        waits = other.submit(database.connection).result()
        waits.may_block, waits.busy_since = True, 1.0
        with connect(proxy.url) as standby:
            standby.mark_lost()
        assert database.verified() is database.connection()
    database.close()


def run_alone(code: str, url: str) -> None:
    """Run it in a process of its own, where a warning is an error; it must end well."""
    command = [sys.executable, "-W", "error", "-c", code, url]
    assert subprocess.run(command, cwd=os.getcwd(), timeout=60).returncode == 0


@pytest.mark.db
def test_a_forked_child_opens_its_own_connection(fresh_database):
    code = """
import os, sys
from forge_min.db import Database
database = Database(sys.argv[1])
pid = database.connection().info.backend_pid
child = os.fork()
if child == 0:
    os._exit(0 if database.connection().info.backend_pid != pid else 1)
assert os.waitpid(child, 0)[1] == 0
assert database.connection().execute("select pg_backend_pid()").fetchone() == (pid,)
database.close()
"""
    run_alone(code, fresh_database.app_url)


@pytest.mark.db
def test_a_forked_child_that_closes_ends_no_session_of_its_parent(fresh_database):
    code = """
import os, sys
from forge_min.db import Database
database = Database(sys.argv[1])
pid = database.connection().info.backend_pid
child = os.fork()
if child == 0:
    database.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert database.connection().execute("select pg_backend_pid()").fetchone() == (pid,)
database.close()
"""
    run_alone(code, fresh_database.app_url)


@pytest.mark.db
def test_a_transaction_is_seen_through_the_threads_connection(fresh_database):
    database = Database(fresh_database.app_url)
    with transaction(database.connection()):
        before = database.connection().execute("select pg_current_xact_id()").fetchone()
        assert database.connection().execute("select pg_current_xact_id()").fetchone() == before
    database.close()


def test_without_libpq_the_error_has_a_code():
    code = """
import sys
sys.modules["psycopg"] = None
try:
    import forge_min.db
except Exception as err:
    print(type(err).__name__, err.code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["Unavailable", "F402"]


@pytest.mark.db
@pytest.mark.parametrize(
    ("query", "params", "row"),
    [
        ("select %s::int, %s::text", (1, "a"), (1, "a")),
        ("select %(a)s::int, %(b)s::text, %(a)s::int", {"a": 1, "b": "x", "c": 9}, (1, "x", 1)),
        ("select '%%', %s::int %% 4, '100%%'", [7], ("%", 3, "100%")),
        ("select '%', 'a%s'", None, ("%", "a%s")),
        ("select %b::int", [5], (5,)),
        (b"select %s::int", [1], (1,)),
        (sql.SQL("select {}, %s::int").format(sql.Literal("a%%b")), [2], ("a%b", 2)),
        ("select 1", (), (1,)),
    ],
)
def test_placeholders_are_psycopgs_own(
    fresh_database: TestDatabase, query: Any, params: Any, row: tuple[object, ...]
) -> None:
    with connect(fresh_database.app_url) as conn:
        assert conn.execute(query, params).fetchone() == row
        with psycopg.connect(fresh_database.app_url) as plain:
            assert plain.execute(query, params).fetchone() == row


@pytest.mark.db
@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("select %s::int", []),
        ("select %s::int", [1, 2]),
        ("select %(a)s::int", {"b": 1}),
        ("select %(a)s::int", [1]),
        ("select %s::int", {"a": 1}),
        ("select %d", [1]),
        ("select 100% of it", [1]),
    ],
)
def test_wrong_placeholders_and_values_are_refused_before_they_are_sent(
    fresh_database: TestDatabase, query: str, params: Any
) -> None:
    with connect(fresh_database.app_url) as conn:
        with pytest.raises((psycopg.ProgrammingError, TypeError)):
            conn.execute(query, params)
        assert conn.execute("select 1").fetchone() == (1,)


@pytest.mark.db
def test_many_at_once_and_long_statements_take_the_same_placeholders(
    fresh_database: TestDatabase,
) -> None:
    with connect(fresh_database.app_url) as conn:
        conn.execute("create temporary table t (a int, b text)")
        values = [{"a": n, "b": str(n)} for n in range(3)]
        conn.cursor().executemany("insert into t values (%(a)s, %(b)s)", values)
        assert conn.execute("select sum(a), max(b) from t").fetchone() == (3, "2")
        many = {f"p{n}": n for n in range(120)}
        text = "select " + " + ".join(f"%({name})s::int" for name in many) + " -- " + "x" * 5000
        assert conn.execute(text, many).fetchone() == (sum(range(120)),)
