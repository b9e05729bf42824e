"""fresh_database: each test its own, in milliseconds, and nothing stays."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from forge_min.db import (
    FORGE_MIGRATIONS,
    Connection,
    EmbeddedServer,
    MigrationFile,
    connect,
    migration_status,
    scratch_database,
)
from forge_min.errors import BuildError
from forge_min.testing import TestDatabase, fast_server
from forge_min.testing import fresh_database as make

pytestmark = pytest.mark.db


def databases(server) -> set[str]:
    with connect(server.owner_url) as conn:
        return {row[0] for row in conn.execute("select datname from pg_database")}


def seconds(server, migrations) -> float:
    started = time.perf_counter()
    with make(server, migrations):
        return time.perf_counter() - started


def test_a_copy_is_made_and_the_migrations_are_not_run_again(server):
    # 10 ms on an idle machine; here only that copies cost less than the first one.
    mark = MigrationFile("app", "0001_mark.sql", f"select '{time.time_ns()}';")
    migrations = [*FORGE_MIGRATIONS, mark]
    first = seconds(server, migrations)
    assert min(seconds(server, migrations) for _ in range(5)) < first


def test_two_databases_know_nothing_of_each_other_and_both_go(server):
    before = databases(server)
    with make(server) as one, make(server) as two:
        with connect(one.owner_url) as conn:
            conn.execute("create table t ()")
        with connect(two.owner_url) as conn:
            assert conn.execute("select to_regclass('t')").fetchone() == (None,)
        assert databases(server) >= {one.name, two.name}
    assert {
        name for name in databases(server) - before if not name.startswith("template_")
    } == set()


def test_it_is_dropped_when_the_test_fails_and_while_clients_are_connected(server):
    with pytest.raises(ZeroDivisionError):
        with make(server) as database:
            client = connect(database.app_url)
            raise ZeroDivisionError
    client.close()
    assert database.name not in databases(server)


def test_forges_tables_are_there_for_the_app_role(fresh_database):
    with connect(fresh_database.app_url) as conn:
        assert {row.state for row in migration_status(conn, FORGE_MIGRATIONS)} == {"applied"}
        assert conn.execute("select count(*) from forge_job").fetchone() == (0,)


def test_a_projects_own_migrations_can_be_given(server):
    mine = MigrationFile("app", "0001_t.sql", "create table t (id int); insert into t values (7);")
    with make(server, [*FORGE_MIGRATIONS, mine]) as database:
        with connect(database.app_url) as conn:
            assert conn.execute("select id from t").fetchone() == (7,)


def test_migrations_that_fail_leave_no_template_behind(server):
    bad = MigrationFile("app", "0001_bad.sql", "select no_such_thing;")
    for _ in range(2):
        with pytest.raises(BuildError), make(server, [bad]):
            pass


def test_a_fast_server_is_a_server_and_leaves_nothing(tmp_path):
    with fast_server(folder=str(tmp_path)) as quick, make(quick) as database:
        with connect(database.app_url) as conn:
            assert conn.execute("show fsync").fetchone() == ("off",)
    assert not list(tmp_path.iterdir())


def test_addresses_of_any_server_will_do(server):
    elsewhere = TestDatabase("app", server.owner_url, server.app_url)
    with make(elsewhere) as database, connect(database.app_url) as conn:
        assert conn.execute("select current_database()").fetchone() == (database.name,)


def test_threads_get_databases_of_their_own_at_the_same_time(server):
    mark = MigrationFile("app", "0001_threads.sql", f"select '{time.time_ns()}';")

    def use(_):
        with make(server, [mark]) as database:
            return database.name

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(use, range(8)))) == 8


@pytest.mark.thorough
def test_it_is_dropped_while_autovacuum_is_at_work_in_it(tmp_path):
    settings = {"autovacuum_naptime": "1", "autovacuum_vacuum_cost_delay": "100"}
    with EmbeddedServer(tmp_path / "server", app_role="app", settings=settings) as server:
        with make(server) as database, connect(database.owner_url) as conn:
            keep_autovacuum_busy(server, conn)
        with scratch_database(server.owner_url) as conn:
            keep_autovacuum_busy(server, conn)
            name = conn.info.dbname
        assert {database.name, name} & databases(server) == set()


def keep_autovacuum_busy(server: EmbeddedServer, conn: Connection) -> None:
    conn.execute("create table big (n int) with (autovacuum_vacuum_cost_limit = 1)")
    conn.execute("insert into big select generate_series(1, 400000)")
    conn.execute("select pg_stat_force_next_flush()")
    busy = """select count(*) from pg_stat_activity
              where datname = %s and backend_type = 'autovacuum worker'"""
    until = time.monotonic() + 60
    with connect(server.admin_url) as admin:
        while admin.execute(busy, [conn.info.dbname]).fetchone() == (0,):
            assert time.monotonic() < until
            time.sleep(0.05)
