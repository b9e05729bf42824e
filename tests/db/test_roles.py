"""The app role: it can do its work in every table, present and future, and nothing else."""

from __future__ import annotations

import os

import psycopg
import pytest
from forge_min.db import (
    FORGE_MIGRATIONS,
    EmbeddedServer,
    MigrationFile,
    check_bound_role,
    connect,
    ensure_app_role,
    migrate,
    role_findings,
)
from forge_min.errors import ConfigError
from forge_min.testing.database import QUICK
from psycopg import sql
from psycopg.conninfo import make_conninfo

pytestmark = pytest.mark.db


@pytest.fixture
def conn(fresh_database):
    with connect(fresh_database.owner_url) as conn:
        yield conn


@pytest.fixture
def admin(server, fresh_database):
    with connect(make_conninfo(server.admin_url, dbname=fresh_database.name)) as admin:
        yield admin


@pytest.fixture
def role(admin):
    name = 'site "app" ' + os.urandom(4).hex()
    yield name
    if admin.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone():
        admin.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(name)))


def as_role(database, role: str, password: str):
    return connect(make_conninfo(database.owner_url, user=role, password=password))


def test_a_missing_role_is_created_with_its_rights_and_settings(conn, role, fresh_database):
    conn.execute("create table old (id int generated always as identity, name text)")
    conn.execute("create function twice(n int) returns int language sql as 'select 2 * n'")
    conn.execute("create view seen as select * from old")
    done = ensure_app_role(conn, role, password="p'w\"d")
    assert done is None
    conn.execute("create table new (id serial primary key); create view fresh as table new")
    with as_role(fresh_database, role, "p'w\"d") as app:
        app.execute("insert into old (name) values ('a'); update old set name = 'b'")
        app.execute("insert into new default values; table fresh; delete from new")
        row = app.execute("select twice(4), name, current_setting('statement_timeout') from seen")
        assert row.fetchone() == (8, "b", "30s")
        assert app.execute("show timezone").fetchone() == ("UTC",)
        assert app.execute("show jit").fetchone() == ("off",)


@pytest.mark.parametrize(
    "statement",
    [
        "create table mine (id int)",
        "alter table forge_job add column x int",
        "drop table forge_event",
        "truncate forge_event",
        "insert into forge_migration values ('app', 'x', 'y')",
        "update forge_migration set checksum = ''",
        "update forge_audit set actor = ''",
        "delete from forge_audit",
        "create role friend",
        "create database another",
        "set role owner",
    ],
)
def test_the_app_role_may_not(fresh_database, statement):
    with connect(fresh_database.app_url) as app:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(statement)


def test_a_role_of_the_previous_release_loses_the_right_to_change_the_history(
    conn, role, fresh_database
):
    ensure_app_role(conn, role, password="pw")
    name = sql.Identifier(role)
    conn.execute(sql.SQL("grant update, delete on forge_audit to {}").format(name))
    with as_role(fresh_database, role, "pw") as app:
        assert "change forge_audit" in role_findings(app, "excess")
        assert ensure_app_role(conn, role, password=None) is None
        assert "change forge_audit" not in role_findings(app, "excess")
        assert role_findings(app, "lacking") == []
        insert = "insert into forge_audit (topic, resource_id, operation, version, changes)"
        app.execute(insert + " values ('items', '1', 'create', 1, '{}')")
        for statement in ("update forge_audit set actor = 'x'", "delete from forge_audit"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(statement)


def test_the_app_role_owns_nothing(fresh_database):
    with connect(fresh_database.app_url) as app:
        query = "select count(*) from pg_class where pg_get_userbyid(relowner) = current_user"
        assert app.execute(query).fetchone() == (0,)
        query = "select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls from pg_roles where"
        row = app.execute(query + " rolname = current_user").fetchone()
        assert row == (False, False, False, False)


def test_a_second_call_changes_nothing_and_keeps_the_password(conn, role, fresh_database):
    assert ensure_app_role(conn, role, password="first") is None
    assert ensure_app_role(conn, role, password="other") is None
    as_role(fresh_database, role, "first").close()


def test_changed_settings_are_written_again(conn, role, fresh_database):
    ensure_app_role(conn, role, password="pw")
    ensure_app_role(conn, role, password="pw", settings={"statement_timeout": "7s"})
    with as_role(fresh_database, role, "pw") as app:
        assert app.execute("show statement_timeout").fetchone() == ("7s",)
        assert app.execute("show lock_timeout").fetchone() == ("5s",)


def test_a_call_without_settings_keeps_those_that_were_chosen(conn, role, fresh_database):
    for settings in ({"statement_timeout": "7s", "timezone": "Europe/Berlin"}, None):
        ensure_app_role(conn, role, password="pw", settings=settings)
    with as_role(fresh_database, role, "pw") as app:
        row = app.execute(
            "select current_setting('statement_timeout'), current_setting('timezone')"
        ).fetchone()
    assert row == ("7s", "Europe/Berlin")


def test_who_may_not_create_roles_gets_the_sql_without_the_password(admin, role, fresh_database):
    plain = "plain_" + os.urandom(4).hex()
    name = sql.Identifier(plain)
    admin.execute(sql.SQL("create role {} login password 'pw'").format(name))
    admin.execute(sql.SQL("create database {0} owner {0}").format(name))
    url = make_conninfo(fresh_database.owner_url, user=plain, password="pw", dbname=plain)
    try:
        with connect(url) as owner:
            text = ensure_app_role(owner, role, password="very-secret")
            assert text is not None and "very-secret" not in text and "SCRAM" not in text
            admin.execute(text)  # somebody with more rights runs it
            owner.execute("create table theirs (id int)")
            assert ensure_app_role(owner, role, password=None) is None
        app_url = make_conninfo(url, user=role, password="<the password of database.url>")
        with connect(app_url) as app:
            assert app.execute("show lock_timeout").fetchone() == ("5s",)
            app.execute("insert into theirs values (1)")
    finally:
        admin.execute(sql.SQL("drop database {} with (force)").format(name))
        admin.execute(sql.SQL("drop owned by {0}; drop role {0}").format(name))


def test_the_owner_as_its_own_app_role_gets_settings_only(fresh_database, role, conn):
    ensure_app_role(conn, role, password="pw")
    with as_role(fresh_database, role, "pw") as single:
        settings = {"statement_timeout": "9s"}
        done = ensure_app_role(single, role, password=None, settings=settings)
        assert done is None
    with as_role(fresh_database, role, "pw") as single:
        assert single.execute("show statement_timeout").fetchone() == ("9s",)
        privileges = "has_table_privilege('forge_migration', 'INSERT')"
        assert single.execute(f"select {privileges}").fetchone() == (False,)


def test_no_password_reaches_the_servers_log(admin, role, fresh_database, server):
    admin.execute("alter role owner set log_statement = 'all'")
    try:
        with connect(fresh_database.owner_url) as logged:
            done = ensure_app_role(logged, role, password="plainly-visible")
    finally:
        admin.execute("alter role owner reset log_statement")
    assert done is None
    query = "select rolpassword from pg_authid where rolname = %s"
    [stored] = admin.execute(query, [role]).fetchone()
    assert stored.startswith("SCRAM-SHA-256$")
    log = (server.data / "server.log").read_text()
    assert role.replace('"', '""') in log
    assert "plainly-visible" not in log


def test_a_migration_that_succeeds_leaves_no_error_in_the_servers_log(server, tmp_path):
    """With and without CREATEROLE, and again when nothing is left to do."""
    index = (
        "-- forge: no transaction\n-- why\ncreate unique index concurrently i on forge_audit (id);"
    )
    files = [*FORGE_MIGRATIONS, MigrationFile("app", "0001_index.sql", index)]
    with EmbeddedServer(tmp_path / "pg", settings=QUICK, bin=server.bin) as own:
        with connect(own.admin_url) as admin:
            admin.execute("create role plain login password 'pw'")
            admin.execute("create database plain owner plain")
            plain = make_conninfo(own.owner_url, user="plain", password="pw", dbname="plain")
            for url, role in ((own.owner_url, "site_app"), (plain, "plain_app")):
                for _ in range(2):
                    with connect(url) as owner:
                        migrate(owner, files)
                        missing = ensure_app_role(owner, role, password="pw")
                    assert (missing is None) == (role == "site_app")
            admin.execute(missing)
            with connect(plain) as owner:
                assert ensure_app_role(owner, "plain_app", password=None) is None
        text = (tmp_path / "pg" / "server.log").read_text()
        assert "ERROR" not in text and "FATAL" not in text, text


def test_an_owner_who_may_not_alter_the_role_is_not_stopped_by_jit_alone(server, fresh_database):
    """As after an upgrade from a release without it, where another team owns the roles."""
    plain, app = "owner_" + os.urandom(4).hex(), "app_" + os.urandom(4).hex()
    with connect(server.admin_url) as admin:
        admin.execute(f"create role {plain} login password 'pw'; create role {app}")
        admin.execute(f"create database {plain} owner {plain}")
        admin.execute(f"alter role {app} set timezone = 'UTC'")
        admin.execute(f"alter role {app} set lock_timeout = '5s'")
        url = make_conninfo(fresh_database.owner_url, user=plain, password="pw", dbname=plain)
        try:
            with connect(url) as owner:
                missing = ensure_app_role(owner, app, password=None) or ""
                assert "statement_timeout" in missing and "jit" in missing
                admin.execute(f"alter role {app} set statement_timeout = '30s'")
                assert ensure_app_role(owner, app, password=None) is None
        finally:
            admin.execute(f"drop database {plain} with (force)")
            admin.execute(f"drop role {app}; drop role {plain}")


def test_a_role_that_policies_bind_is_fit_for_tenants(conn, admin, role, fresh_database):
    conn.execute("create table note (tenant_id uuid); alter table note enable row level security")
    with connect(fresh_database.app_url) as app:
        check_bound_role(app)
    ensure_app_role(conn, role, password="pw")
    for more, said in (("bypassrls", "BYPASSRLS"), ("superuser", "superuser")):
        admin.execute(sql.SQL("alter role {} {}").format(sql.Identifier(role), sql.SQL(more)))
        with as_role(fresh_database, role, "pw") as unbound:
            assert said in refusal(unbound)


def test_a_role_that_owns_a_table_with_policies_is_unfit_for_tenants(
    conn, admin, role, fresh_database
):
    assert "forge_audit" in refusal(conn)
    text = "create role {} login password 'pw' in role owner"
    admin.execute(sql.SQL(text).format(sql.Identifier(role)))
    with as_role(fresh_database, role, "pw") as member:
        assert "forge_audit" in refusal(member)


def refusal(conn) -> str:
    with pytest.raises(ConfigError) as caught:
        check_bound_role(conn)
    assert caught.value.code == "F412"
    return caught.value.message
