"""The migration runner: what is applied, what is refused, and what a crash or a race leaves."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time

import psycopg
import pytest
from forge_min.db import MigrationFile, connect, migrate, migrate_down, migration_status
from forge_min.errors import BuildError, Unavailable

pytestmark = pytest.mark.db
runner_module = importlib.import_module("forge_min.db.migrate")  # db.migrate is the function


def file(number: int, sql: str, name: str = "x") -> MigrationFile:
    return MigrationFile("app", f"{number:04}_{name}.sql", sql)


ONE = file(1, "create table one (id int);\n-- forge: down\ndrop table one;")
TWO = file(2, "create table two (id int);\n-- forge: down\ndrop table two;")
STEPS = "-- forge: no transaction\ncreate table a (id int);\n{};\ncreate index i on a (id);\n"


@pytest.fixture
def conn(fresh_database):
    with connect(fresh_database.owner_url) as conn:
        yield conn


def tables(conn) -> set[str]:
    query = "select tablename from pg_tables where schemaname = 'public'"
    names = {row[0] for row in conn.execute(query)}
    return {name for name in names if not name.startswith("forge_")}


def states(conn, files) -> dict[str, str]:
    return {row.name[:4]: row.state for row in migration_status(conn, files)}


def test_files_are_applied_once_and_in_order(conn):
    seen: list[str] = []
    assert migrate(conn, [ONE, TWO], progress=seen.append) == ["0001_x.sql", "0002_x.sql"] == seen
    assert migrate(conn, [ONE, TWO]) == []
    assert tables(conn) == {"one", "two"}


def test_a_file_with_a_lower_number_that_comes_late_is_applied(conn):
    migrate(conn, [TWO])
    assert migrate(conn, [ONE, TWO]) == ["0001_x.sql"]


def test_status_tells_pending_applied_changed_and_missing(conn):
    migrate(conn, [ONE, TWO, file(3, "select 1")])
    now = [ONE, file(2, "create table other ();"), file(4, "select 1")]
    assert states(conn, now) == {
        "0001": "applied",
        "0002": "changed",
        "0003": "missing",
        "0004": "pending",
    }


def test_status_needs_no_more_than_the_app_role(conn, fresh_database):
    migrate(conn, [ONE])
    with connect(fresh_database.app_url) as app:
        assert states(app, [ONE, TWO]) == {"0001": "applied", "0002": "pending"}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("delete from forge_migration")


def test_a_database_without_the_table_has_everything_pending(conn):
    conn.execute("drop table forge_migration")
    assert states(conn, [ONE]) == {"0001": "pending"}


def test_a_changed_file_stops_the_run_before_anything_is_done(conn):
    migrate(conn, [ONE])
    with pytest.raises(BuildError) as caught:
        migrate(conn, [file(1, ONE.sql + " "), TWO])
    assert caught.value.code == "F320" and "0001_x.sql" in caught.value.message
    assert tables(conn) == {"one"}


def test_a_failing_file_names_its_line_and_leaves_nothing(conn):
    bad = file(2, "create table half (id int);\n\nselect no_such_column;\ncreate table b ();")
    with pytest.raises(BuildError) as caught:
        migrate(conn, [ONE, bad, file(3, "create table later ();")])
    assert caught.value.code == "F322"
    assert "0002_x.sql:3: " in caught.value.message
    assert tables(conn) == {"one"}
    assert states(conn, [ONE, bad]) == {"0001": "applied", "0002": "pending"}


@pytest.mark.parametrize("trick", ["commit; begin", "rollback; begin", "commit"])
def test_a_file_that_commits_by_itself_is_an_error(conn, trick):
    with pytest.raises(BuildError) as caught:
        migrate(conn, [file(1, f"create table half (id int); {trick}; create table rest ();")])
    assert caught.value.code in ("F324", "F322")
    assert states(conn, [file(1, "")]) == {"0001": "pending"}


def test_a_role_that_does_not_own_the_tables_gets_a_hint(conn, fresh_database):
    conn.execute("drop table if exists forge_migration")
    with connect(fresh_database.app_url) as app:
        with pytest.raises(BuildError, match="the role app may not migrate: ") as caught:
            migrate(app, [])
        assert caught.value.hint and "database.migrate_url" in caught.value.hint
        migrate(conn, [])
        conn.execute("grant all on forge_migration to public")
        with pytest.raises(BuildError, match="x.sql:1: permission denied") as caught:
            migrate(app, [file(1, "create table pets (id int);")])
        assert caught.value.hint and "database.migrate_url" in caught.value.hint


def test_down_undoes_the_last_files_first(conn):
    migrate(conn, [ONE, TWO])
    assert migrate_down(conn, [ONE, TWO]) == ["0002_x.sql"]
    assert tables(conn) == {"one"}
    assert migrate_down(conn, [ONE, TWO], steps=9) == ["0001_x.sql"]
    assert tables(conn) == set()
    assert migrate(conn, [ONE, TWO]) == ["0001_x.sql", "0002_x.sql"]


def test_down_does_nothing_when_one_of_the_files_has_no_way_back(conn):
    files = [file(1, "create table keep ();"), TWO]
    migrate(conn, files)
    with pytest.raises(BuildError) as caught:
        migrate_down(conn, files, steps=2)
    assert caught.value.code == "F323"
    assert tables(conn) == {"keep", "two"}


def test_a_failing_down_leaves_the_file_applied(conn):
    bad = file(1, "create table a ();\n-- forge: down\ndrop table a; drop table nothing;")
    migrate(conn, [bad])
    with pytest.raises(BuildError):
        migrate_down(conn, [bad])
    assert tables(conn) == {"a"}
    assert states(conn, [bad]) == {"0001": "applied"}


def test_a_failing_down_names_its_line_in_the_file(conn):
    bad = file(1, "create table a ();\n\n-- forge: down\n\ndrop table a;\ndrop table nothing(;")
    migrate(conn, [bad])
    with pytest.raises(BuildError, match=r"0001_x\.sql:6: syntax error"):
        migrate_down(conn, [bad])


def test_what_breaks_a_rule_is_told_with_the_row(conn):
    text = "create table a as select 7 as id from generate_series(1, 2);"
    with pytest.raises(BuildError, match=r"\(id\)=\(7\) is duplicated"):
        migrate(conn, [file(1, text + "create unique index on a (id)")])


def test_down_waits_for_the_release_that_has_the_newest_file(conn):
    migrate(conn, [ONE, TWO])
    with pytest.raises(BuildError, match=r"0002_x\.sql was applied after 0001_x\.sql") as caught:
        migrate_down(conn, [ONE])
    assert caught.value.code == "F323" and tables(conn) == {"one", "two"}


def test_what_a_file_sets_ends_with_it_and_days_begin_in_utc(conn):
    conn.execute("set timezone to 'America/Lima'")
    files = [
        file(1, "select set_config('search_path', '', false);"),
        file(2, "create table a as select '2026-01-31'::timestamptz as at;"),
        file(3, "set timezone to 'Asia/Tokyo'; set lock_timeout = 7;"),
        file(4, "insert into a values ('2026-01-31');"),
    ]
    migrate(conn, files)
    assert conn.execute("select count(*), count(distinct at) from a").fetchone() == (2, 1)
    assert conn.execute("show lock_timeout").fetchone() == ("0",)


def test_a_file_without_transaction_goes_on_where_it_failed(conn):
    wrong, right = file(1, STEPS.format("select no_such")), file(1, STEPS.format("select 1"))
    with pytest.raises(BuildError, match="statement 2"):
        migrate(conn, [wrong])
    assert states(conn, [wrong]) == {"0001": "half applied"}
    assert migrate(conn, [right]) == ["0001_x.sql"]
    assert states(conn, [right]) == {"0001": "applied"}
    assert conn.execute("show lock_timeout").fetchone() == ("0",)


DOWN = "-- forge: down\ndrop index if exists i_new;\ndrop index i;\ndrop table a;\n"


def test_what_a_half_applied_file_has_done_is_undone(conn):
    for number in (1, 2, 3):
        lines = (STEPS.format("select 1") + "select no_such;\n").splitlines()
        half = file(1, "\n".join([*lines[: 1 + number], "select no_such;", DOWN]))
        with pytest.raises(BuildError, match=f"statement {number + 1}"):
            migrate(conn, [half])
        assert states(conn, [half]) == {"0001": "half applied"} and tables(conn) == {"a"}
        assert migrate_down(conn, [half]) == ["0001_x.sql"]
        assert states(conn, [half]) == {"0001": "pending"} and tables(conn) == set()


def test_a_way_back_that_was_interrupted_goes_on(conn):
    up = "-- forge: no transaction\ncreate table a (id int);\n"
    up += "create index concurrently b on a (id);\ncreate index concurrently c on a (id);\n"
    back = "-- forge: down\ndrop index concurrently c;\n{}drop index concurrently b;\ndrop table a;"
    stops, goes = file(1, up + back.format("select no_such();\n")), file(1, up + back.format(""))
    migrate(conn, [stops])
    with pytest.raises(BuildError, match="no_such"):
        migrate_down(conn, [stops])
    assert states(conn, [stops]) == {"0001": "half applied"} and tables(conn) == {"a"}
    with pytest.raises(BuildError, match="already exists"):
        migrate(conn, [stops])
    assert migrate_down(conn, [goes]) == ["0001_x.sql"]
    assert states(conn, [goes]) == {"0001": "pending"} and tables(conn) == set()
    assert migrate(conn, [goes]) == ["0001_x.sql"]
    assert states(conn, [goes]) == {"0001": "applied"}


def test_what_cannot_be_undone_of_a_half_applied_file_is_told_and_nothing_is_done(conn):
    text = STEPS.format("select no_such") + "-- forge: down\ndrop table a;\nselect 1/0;"
    with pytest.raises(BuildError):
        migrate(conn, [file(1, text)])
    with pytest.raises(BuildError, match="division by zero"):
        migrate_down(conn, [file(1, text)])
    assert states(conn, [file(1, text)]) == {"0001": "half applied"} and tables(conn) == {"a"}


def test_what_a_half_applied_file_has_done_may_not_be_changed(conn):
    with pytest.raises(BuildError):
        migrate(conn, [file(1, STEPS.format("select no_such"))])
    with pytest.raises(BuildError) as caught:
        migrate(conn, [file(1, STEPS.format("select 1").replace("table a", "table b"))])
    assert caught.value.code == "F320"


def test_a_statement_and_its_note_are_committed_together(conn):
    migrate(conn, [file(1, STEPS.format("select 1"))])
    row = conn.execute(
        "select m.xmin = c.xmin from forge_migration m, pg_class c"
        " where m.name = '0001_x.sql' and c.relname = 'i'"
    ).fetchone()
    assert row == (True,)


def test_a_failed_build_of_an_index_is_removed_and_begun_anew(conn):
    text = (
        "-- forge: no transaction\ncreate table a as select 1 as id from generate_series(1, 2);\n"
    )
    text += "-- as `migrate diff` writes it\ndrop index concurrently if exists i;\n"
    text += "create unique index concurrently i on a (id);"
    with pytest.raises(BuildError, match="statement 3"):
        migrate(conn, [file(1, text)])
    conn.execute("delete from a where ctid = '(0,1)'")
    assert migrate(conn, [file(1, text)]) == ["0001_x.sql"]
    query = "select indisvalid from pg_index where indexrelid = 'i'::regclass"
    assert conn.execute(query).fetchone() == (True,)


def test_a_failing_down_of_a_file_without_transaction_undoes_nothing(conn):
    bad = file(1, STEPS.format("select 1") + "-- forge: down\ndrop table a; drop table nothing;")
    migrate(conn, [bad])
    with pytest.raises(BuildError):
        migrate_down(conn, [bad])
    assert tables(conn) == {"a"}


def test_what_commits_inside_a_statement_needs_a_file_without_transaction(conn):
    text = "do $$ begin create table a (id int); commit; create table b (id int); end $$;"
    with pytest.raises(BuildError):
        migrate(conn, [file(1, text)])
    assert tables(conn) == set()
    migrate(conn, [file(1, "-- forge: no transaction\n" + text)])
    assert tables(conn) == {"a", "b"}


def test_an_index_can_be_built_concurrently(conn):
    text = "-- forge: no transaction\ncreate index concurrently two_id on two (id);"
    down = "\n-- forge: down\ndrop index concurrently two_id;"
    files = [TWO, file(3, text + down)]
    assert migrate(conn, files) == ["0002_x.sql", "0003_x.sql"]
    assert migrate_down(conn, files) == ["0003_x.sql"]


def test_a_locked_table_makes_the_migration_give_way(conn, fresh_database, monkeypatch):
    monkeypatch.setattr(runner_module, "TABLE_WAIT", 0.05)
    migrate(conn, [ONE])
    with connect(fresh_database.app_url) as reader, reader.transaction():
        reader.execute("select * from one")
        with pytest.raises(Unavailable) as caught:
            migrate(conn, [ONE, file(2, "alter table one add column x int")])
    assert caught.value.code == "F326"
    assert migrate(conn, [ONE, file(2, "alter table one add column x int")]) == ["0002_x.sql"]


def test_another_runner_is_waited_for_and_not_for_ever(conn, fresh_database, monkeypatch):
    monkeypatch.setattr(runner_module, "LOCK_WAIT", 0.15)
    with connect(fresh_database.owner_url) as other:
        other.execute("select pg_advisory_lock(%s)", [runner_module.LOCK_KEY])
        with pytest.raises(Unavailable) as caught:
            migrate(conn, [ONE])
        assert caught.value.code == "F326"
    assert migrate(conn, [ONE]) == ["0001_x.sql"]


RUNNER = """
import sys
from forge_min.db import MigrationFile, connect, migrate
texts = sys.argv[2:]
files = [MigrationFile("app", f"{n:04}_x.sql", text) for n, text in enumerate(texts, 1)]
with connect(sys.argv[1]) as conn:
    print("ready", flush=True)
    sys.stdin.readline()
    print(len(migrate(conn, files)))
"""


def start_runner(url: str, *texts: str) -> subprocess.Popen[str]:
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, url, *texts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=os.getcwd(),
    )
    assert runner.stdout and runner.stdout.readline() == "ready\n"
    return runner


def test_two_deploys_at_once_apply_each_file_once(conn, fresh_database):
    # With an index built concurrently: a runner that waited inside a statement would hold a
    # snapshot, for which the build waits, for which the runner waits.
    texts = [
        "create table big as select generate_series(1, 20000) id; select pg_sleep(0.2);",
        "-- forge: no transaction\ncreate index concurrently big_id on big (id);",
        *(f"create table t{number} (id int);" for number in range(5)),
    ]
    runners = [start_runner(fresh_database.owner_url, *texts) for _ in range(2)]
    answers = [runner.communicate("\n", timeout=60)[0] for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0]
    assert sorted(map(int, answers)) == [0, len(texts)]


def test_a_killed_runner_leaves_nothing_half_applied(conn, fresh_database):
    text = "create table half (id int); select pg_sleep(60); create table rest (id int);"
    runner = start_runner(fresh_database.owner_url, text)
    assert runner.stdin and runner.stdout
    runner.stdin.write("\n")
    runner.stdin.flush()
    backend = wait_for(conn, "select pid from pg_stat_activity where wait_event = 'PgSleep'")
    runner.send_signal(signal.SIGKILL)
    runner.wait(20)
    runner.stdin.close()
    runner.stdout.close()
    conn.execute("select pg_terminate_backend(%s, 10000)", [backend])
    assert tables(conn) == set()
    assert migrate(conn, [ONE]) == ["0001_x.sql"]


def test_a_server_that_ends_the_session_leaves_nothing_half_applied(conn, fresh_database):
    slow = file(2, "create table half (id int); select pg_sleep(60);")
    errors: list[BaseException] = []

    def run() -> None:
        with connect(fresh_database.owner_url) as mine:
            try:
                migrate(mine, [ONE, slow])
            except BaseException as err:
                errors.append(err)

    thread = threading.Thread(target=run)
    thread.start()
    backend = wait_for(conn, "select pid from pg_stat_activity where wait_event = 'PgSleep'")
    conn.execute("select pg_terminate_backend(%s)", [backend])
    thread.join(20)
    assert [type(err) for err in errors] == [BuildError]
    assert tables(conn) == {"one"}
    assert states(conn, [ONE, slow]) == {"0001": "applied", "0002": "pending"}


def wait_for(conn, query: str) -> object:
    query += " and datname = current_database()"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        row = conn.execute(query).fetchone()
        if row:
            return row[0]
    raise AssertionError("it never happened")
