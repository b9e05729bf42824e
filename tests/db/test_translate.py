"""translate: every refusal of PostgreSQL becomes a domain error that names the rule, no value."""

from __future__ import annotations

import threading

import psycopg
import pytest
from forge_min.db import connect, errors_translated, translate
from forge_min.errors import Conflict, ConstraintViolation, DatabaseError, ForgeError, Unavailable

pytestmark = pytest.mark.db
SECRET = "value-of-a-row"
TABLE = """
create extension if not exists btree_gist;
create table parent (id int primary key);
create table item (
  id int primary key, name text constraint item_name_key unique,
  needed text not null,
  size int constraint item_size_check check (size < 10),
  parent_id int constraint item_parent_id_fkey references parent on delete restrict,
  room int, during tstzrange,
  constraint item_overlap exclude using gist (room with =, during with &&)
);
insert into parent values (1);
insert into item values (1, 'value-of-a-row', 'x', 1, 1, 1, '[2026-01-01, 2026-02-01)');
"""


@pytest.fixture
def conn(fresh_database):
    with connect(fresh_database.owner_url) as conn:
        conn.execute(TABLE)
        yield conn


def refused(conn, statement: str, *params: object) -> ForgeError:
    with pytest.raises(ForgeError) as caught, errors_translated():
        conn.execute(statement, params)
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert SECRET not in caught.value.message
    return caught.value


def test_a_unique_rule_is_a_conflict_with_the_constraint(conn):
    err = refused(conn, "insert into item (id, name, needed) values (2, %s, 'x')", SECRET)
    assert isinstance(err, Conflict)
    assert (err.constraint, err.table) == ("item_name_key", "item")


@pytest.mark.parametrize(
    ("statement", "kind", "constraint", "column"),
    [
        ("insert into item (id, needed) values (2, null)", "not_null", "", "needed"),
        ("update item set size = 99", "check", "item_size_check", ""),
        ("update item set parent_id = 7", "foreign_key", "item_parent_id_fkey", ""),
        ("delete from parent", "foreign_key", "item_parent_id_fkey", ""),
        (
            "insert into item (id, needed, room, during)"
            " values (3, 'value-of-a-row', 1, '[2026-01-05, 2026-01-06)')",
            "exclusion",
            "item_overlap",
            "",
        ),
    ],
)
def test_each_other_rule_is_a_violation_of_its_kind(conn, statement, kind, constraint, column):
    err = refused(conn, statement)
    assert isinstance(err, ConstraintViolation)
    assert (err.kind, err.column, err.table) == (kind, column, "item")
    if kind != "not_null":
        assert err.constraint == constraint


@pytest.mark.parametrize(
    "statement",
    [
        "do $$ begin insert into forge_job (kind) values ('a');"
        " update forge_job set priority = 9; end $$",
        "insert into forge_job (kind) values (null)",
        "insert into forge_job (kind, unique_key) values ('a', 'k'), ('b', 'k')",
        "insert into forge_audit (topic, resource_id, operation, version)"
        " values ('items', '1', 'create', 1)",
        "with row as (insert into item (id, needed) values (2, 'x') returning id)"
        " insert into forge_event (topic, kind) select null, 'item.created' from row",
    ],
)
def test_a_rule_of_our_own_tables_never_looks_like_one_of_the_users(conn, statement):
    err = refused(conn, statement)
    assert isinstance(err, DatabaseError) and err.code == "F410"
    assert "forge_" in err.message


def test_a_wrong_statement_is_a_database_error_that_names_the_column(conn):
    err = refused(conn, "select no_such_column from item")
    assert isinstance(err, DatabaseError)
    assert "no_such_column" in err.message


def test_a_wrong_value_is_not_repeated(conn):
    err = refused(conn, "select %s::text::int", SECRET)
    assert isinstance(err, DatabaseError)
    assert "22P02" in err.message


def test_a_raised_text_is_not_repeated(conn):
    err = refused(conn, f"do $$ begin raise exception '{SECRET}'; end $$")
    assert isinstance(err, ConstraintViolation) and err.kind == "check"


def test_a_timeout_is_unavailable(conn):
    conn.execute("set statement_timeout = '20ms'")
    err = refused(conn, "select pg_sleep(20)")
    assert isinstance(err, Unavailable)
    assert err.code == "F407"


def test_a_lock_that_is_not_given_is_unavailable(conn, fresh_database):
    with connect(fresh_database.owner_url) as other, other.transaction():
        other.execute("select * from item for update")
        err = refused(conn, "select * from item for update nowait")
    assert (type(err), err.code) == (Unavailable, "F656")


def test_a_killed_session_is_unavailable(conn, fresh_database):
    with connect(fresh_database.owner_url) as other:
        other.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
    assert refused(conn, "select 1").code == "F405"
    assert refused(conn, "select 1").code == "F405"  # closed by now: no SQLSTATE


def test_a_serialization_failure_is_unavailable(conn, fresh_database):
    with connect(fresh_database.owner_url) as other:
        conn.execute("begin isolation level serializable")
        conn.execute("select size from item where id = 1")
        other.execute("update item set size = 2 where id = 1")
        err = refused(conn, "update item set size = 3 where id = 1")
    assert (type(err), err.code) == (Unavailable, "F406")


def test_a_deadlock_is_unavailable(conn, fresh_database):
    conn.execute("insert into parent values (2)")
    found: list[ForgeError] = []
    first_locks = threading.Barrier(2, timeout=20)

    def work(first: int, second: int) -> None:
        with connect(fresh_database.owner_url) as mine:
            mine.execute("begin")
            mine.execute("select 1 from parent where id = %s for update", [first])
            first_locks.wait()
            try:
                with errors_translated():
                    mine.execute("select 1 from parent where id = %s for update", [second])
            except ForgeError as err:
                found.append(err)
            mine.execute("rollback")

    threads = [threading.Thread(target=work, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [(type(err), err.code) for err in found] == [(Unavailable, "F406")]


def test_an_error_of_the_driver_alone_is_a_database_error():
    err = translate(psycopg.ProgrammingError("the query has 1 placeholder but 0 parameters"))
    assert isinstance(err, DatabaseError)
