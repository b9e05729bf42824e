"""What doctor asks of a database, on real ones: roles, policies, jobs, limits, poolers."""

from __future__ import annotations

import asyncio
import importlib
import re
import runpy
import shlex
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from forge_min import db, jobs
from forge_min.app import App, ProjectCode
from forge_min.db import EmbeddedServer
from forge_min.doctor import Finding
from forge_min.doctor.database import check_services
from forge_min.doctor.database import server as server_checks
from forge_min.doctor.database.capacity import most_connections
from forge_min.testing import TestDatabase
from forge_min.testing import fresh_database as make_fresh_database
from psycopg.conninfo import make_conninfo

from mail_server import PASSWORD, MailServer, authenticate, write_certificate

from .conftest import MakeSite, loaded, of, states

pytestmark = pytest.mark.db
TENANT = "nullif(current_setting('forge.tenant_id', true), '')::uuid"


def code(*kinds: str) -> Callable[[], ProjectCode]:
    """A project's code: workers of these kinds, no resource."""

    def register(registry: Any, prefix: str) -> list[Any]:
        workers = [type(kind, (), {"kind": kind, "work": lambda self, job: None}) for kind in kinds]
        registry.add_workers(workers)
        return []

    return lambda: loaded(register)


@pytest.fixture
def owner(fresh_database: TestDatabase) -> Iterator[db.Connection]:
    with db.connect(fresh_database.owner_url) as conn:
        yield conn


def test_a_site_that_is_well_has_no_failure(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    settings = {"database.migrate_url": fresh_database.owner_url}
    found = check_services(make_site(fresh_database.app_url, settings, code=code("a")))
    wrong = [one for one in found if one.state in ("failed", "warning")]
    assert wrong == [], wrong
    assert all(one.why and not one.next for one in found)
    assert of(found, "D504").message == "LISTEN receives notifications"


def test_without_a_database_one_thing_failed_and_the_rest_is_skipped(make_site: MakeSite) -> None:
    away = "postgresql://nobody:hush-hush@127.0.0.1:1/none"
    found = check_services(make_site(away, code=code()))
    asked = {c: s for c, s in states(found).items() if c > "D5"}
    assert asked.pop("D501") == "failed" and set(asked.values()) == {"skipped"} and len(asked) > 10
    one = of(found, "D501")
    assert "127.0.0.1:1" in one.message and one.next == "pg_isready -h 127.0.0.1 -p 1"
    assert "hush" not in str(found)


def test_the_mail_server_is_checked_as_a_message_would_use_it(
    make_site: MakeSite, tmp_path: Path
) -> None:
    """With TLS and the password; nothing is sent, and no password is shown."""

    def check(url: str) -> Finding:
        return of(check_services(make_site("", {"mail.url": url}, code=code())), "D309")

    assert check("").state == "skipped"
    certificate = write_certificate(tmp_path / "localhost.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    server = MailServer(tls=tls, authenticator=authenticate, auth_require_tls=False)
    address = f"localhost:{server.port}?ca={certificate}"
    try:
        assert check(f"smtps://shop:{quote(PASSWORD, safe='')}@{address}").state == "ok"
        wrong = check(f"smtps://shop:hush-hush@{address}")
        untrusted = check(f"smtps://localhost:{server.port}")
        assert server.inbox.received == []
    finally:
        server.stop()
    assert wrong.state == "failed" and "535" in wrong.message and "hush" not in str(wrong)
    assert untrusted.state == "failed" and "CERTIFICATE_VERIFY_FAILED" in untrusted.message
    away = check(f"smtp://localhost:{server.port}")
    assert away.state == "failed" and "Connection refused" in away.message and away.next


@pytest.mark.thorough
def test_a_server_that_accepts_and_says_nothing_costs_seconds(make_site: MakeSite) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        found = check_services(make_site(f"postgresql://a@127.0.0.1:{port}/a", code=code()))
    assert states(found)["D501"] == "failed" and states(found)["D701"] == "skipped"


@pytest.mark.thorough
def test_a_server_that_falls_silent_midway_is_not_asked_again(
    fresh_database: TestDatabase, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = psycopg.conninfo.conninfo_to_dict(fresh_database.app_url)
    there = str(given["host"]), int(str(given["port"]))
    silent = threading.Event()

    def carry(source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(65536):
            if b"current_setting('server_version')" in data:
                silent.set()
            if silent.is_set():
                return
            target.sendall(data)

    with closing(socket.create_server(("127.0.0.1", 0))) as front:

        def serve() -> None:
            near, _ = front.accept()
            far = socket.create_connection(there)
            threading.Thread(target=carry, args=(far, near), daemon=True).start()
            carry(near, far)
            held.extend((near, far))

        held: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        url = make_conninfo(fresh_database.app_url, port=front.getsockname()[1], sslmode="disable")
        found = check_services(make_site(url, code=code()))
        for each in held:
            each.close()
    told = states(found)
    assert told["D501"] == "ok" and told["D502"] == "failed" and told["D701"] == "skipped"
    assert "not finished within" in of(found, "D502").message


def test_nothing_is_written_where_nothing_may_be(
    fresh_database: TestDatabase, owner: db.Connection, make_site: MakeSite
) -> None:
    """As a role whose every transaction is read-only, and by the server's own count of changes."""
    counts = "select sum(n_tup_ins + n_tup_upd + n_tup_del)::int from pg_stat_user_tables"
    with db.connect(fresh_database.app_url) as conn:
        jobs.insert_tx(conn, "a", queue="mail")
        conn.execute("select pg_stat_force_next_flush()")  # as its backend would some time later
        conn.execute("select 1")
    ((rows,),) = owner.execute("select count(*) from forge_queue").fetchall()
    assert rows == 0
    url = make_conninfo(fresh_database.app_url, options="-c default_transaction_read_only=on")
    settings = {"database.migrate_url": fresh_database.owner_url}
    owner.execute("select pg_stat_force_next_flush()")
    before = owner.execute(counts).fetchone()
    assert before is not None and before[0] >= 1, "the insert is counted"
    found = check_services(make_site(url, settings, code=code("a")))
    told = states(found)
    assert told.pop("D507") == "failed" and "failed" not in told.values(), found
    assert "1 jobs wait" in of(found, "D704").message and told["D504"] == "ok"
    owner.execute("select pg_stat_clear_snapshot()")
    assert owner.execute(counts).fetchone() == before
    ((rows,),) = owner.execute("select count(*) from forge_queue").fetchall()
    assert rows == 0


def test_a_pooler_is_told_with_what_it_costs(
    fresh_database: TestDatabase, make_site: MakeSite, pooled: Callable[..., str]
) -> None:
    url = pooled(fresh_database.app_url)
    found = check_services(make_site(url, {"notify.poll_interval": 2.5}, code=code()))
    assert states(found)["D503"] == states(found)["D504"] == "warning"
    assert "pooler" in of(found, "D504").message and "2.5 s" in of(found, "D504").message
    assert "FORGE_DATABASE_DIRECT_URL" in of(found, "D504").next
    assert "35 to the pooler (its max_client_conn) and 2 directly" in of(found, "D508").message
    assert states(found)["D701"] == "ok"
    past = {"database.direct_url": fresh_database.app_url}
    found = check_services(make_site(url, past, code=code()))
    assert states(found)["D503"] == states(found)["D504"] == "ok"
    with db.connect(url) as conn:  # what was set for a look must not reach the sessions of others
        row = conn.execute("select current_setting('statement_timeout'), pg_is_in_recovery()")
        assert row.fetchone() == ("30s", False)
        jobs.insert_tx(conn, "written")


def test_polling_by_choice_is_told(fresh_database: TestDatabase, make_site: MakeSite) -> None:
    site = make_site(fresh_database.app_url, {"notify.listen": False}, code=code())
    one = of(check_services(site), "D504")
    assert one.state == "warning" and "notify.listen is off" in one.message


# -- the code --------------------------------------------------------------------------------------


def test_code_that_does_not_load_is_one_failure_with_its_place(
    fresh_database: TestDatabase, make_site: MakeSite, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text("import json\nraise SystemExit('no licence')\n")

    def load() -> Any:
        runpy.run_path(str(tmp_path / "app.py"))

    found = check_services(make_site(fresh_database.app_url, code=load, root=tmp_path))
    told = states(found)
    assert of(found, "D105").message == "app.py:2: SystemExit: no licence"
    assert told["D106"] == told["D107"] == "skipped"
    assert {told[c] for c in ("D501", "D510", "D601", "D701")} == {"ok"}


@pytest.mark.thorough
def test_code_that_waits_for_ever_is_given_up(make_site: MakeSite) -> None:
    def load() -> Any:
        while True:
            try:
                time.sleep(60)
            except Exception:
                pass

    found = check_services(make_site(code=load))
    assert of(found, "D105").message == "not finished within 8 s"
    assert states(found)["D106"] == states(found)["D107"] == states(found)["D701"] == "skipped"


class Own(BaseException):
    """Of a project that ends its own way."""


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not this either")


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (asyncio.CancelledError(), "CancelledError"),
        (Own("x"), "Own: x"),
        (Mute(), "Mute: <exception str() failed>"),
    ],
)
def test_whatever_code_raises_is_one_failure(
    end: BaseException, told: str, make_site: MakeSite
) -> None:
    def load() -> Any:
        raise end

    found = check_services(make_site(code=load))
    assert of(found, "D105").message.endswith(f": {told}")
    assert states(found)["D106"] == "skipped" and states(found)["D501"] == "warning"


def test_what_code_prints_is_on_stderr(
    make_site: MakeSite, capsys: pytest.CaptureFixture[str]
) -> None:
    def load() -> ProjectCode:
        print("printed")
        return code("a")()

    found = check_services(make_site(code=load))
    assert of(found, "D105").state == "ok"
    assert of(found, "D107").message == "they fit; kinds: 4" and of(found, "D108").state == "ok"
    out, err = capsys.readouterr()
    assert err == "printed\n" and out == ""


def test_a_hook_without_a_worker_and_pages_that_evaluate_are_told(make_site: MakeSite) -> None:
    app = App()
    app.periodic("nightly", 60.0, "Gone")
    app.page("/a", unsafe_eval=True)(lambda request: "")
    found = check_services(make_site(code=lambda: loaded(lambda registry, prefix: [], app)))
    assert of(found, "D107").state == "failed" and "Gone" in of(found, "D107").message
    assert of(found, "D107").next.startswith("forge-min help F7")
    assert of(found, "D106").state == "warning" and "/a" in of(found, "D106").message


# -- migrations ------------------------------------------------------------------------------------


def test_pending_edited_and_unknown_migrations_are_told_apart(
    fresh_database: TestDatabase, owner: db.Connection, make_site: MakeSite, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_first.sql").write_text("create table a (id int);\n")
    files = [*db.FORGE_MIGRATIONS, *db.read_migrations(folder)]
    db.migrate(owner, files)
    owner.execute(
        "insert into forge_migration (source, name, checksum, applied_at) "
        "values ('app', '0009_newer.sql', 'x', now())"
    )
    (folder / "0001_first.sql").write_text("create table b (id int);\n")
    (folder / "0002_second.sql").write_text("create table c (id int);\n")
    found = check_services(make_site(fresh_database.app_url, code=code(), root=tmp_path))
    assert of(found, "D510").message == "not applied: app/0002_second.sql"
    assert "app/0001_first.sql" in of(found, "D511").message
    assert "app/0009_newer.sql" in of(found, "D512").message
    assert [states(found)[c] for c in ("D510", "D511", "D512")] == ["failed", "failed", "warning"]


def test_an_empty_database_wants_migrations_and_skips_what_needs_them(
    server: EmbeddedServer, make_site: MakeSite
) -> None:
    name = "empty_" + uuid4().hex[:8]
    with db.connect(server.owner_url) as conn:
        conn.execute(f"create database {name}")
        try:
            found = check_services(
                make_site(make_conninfo(server.app_url, dbname=name), code=code())
            )
        finally:
            # Not by the owner, who may not end an autovacuum that is in it.
            with db.connect(server.admin_url) as admin:
                admin.execute(f"drop database {name} with (force)")
    assert states(found)["D510"] == "failed" and of(found, "D510").next == "forge-min migrate up"
    assert states(found)["D701"] == "skipped" and "D510" in of(found, "D701").message


# -- the role --------------------------------------------------------------------------------------


@pytest.fixture
def notes(owner: db.Connection) -> db.Connection:
    """Two tenants' rows in a table with a policy, and the view that is the owner's."""
    owner.execute(
        "create table notes (id int, tenant_id uuid not null);"
        "alter table notes enable row level security;"
        f"create policy notes_tenant on notes using (tenant_id = {TENANT});"
        f"create view notes_of_tenant as select * from notes where tenant_id = {TENANT};"
        "insert into notes values (1, gen_random_uuid()), (2, gen_random_uuid())"
    )
    return owner


def test_policies_that_bind_let_no_row_be_seen(
    fresh_database: TestDatabase, notes: db.Connection, make_site: MakeSite
) -> None:
    settings = {"database.migrate_url": fresh_database.owner_url}
    found = check_services(make_site(fresh_database.app_url, settings, code=code()))
    assert of(found, "D605").message == "no rows are visible of notes; 2 are empty"
    assert states(found)["D604"] == states(found)["D605"] == states(found)["D601"] == "ok"
    unknown = check_services(make_site(fresh_database.app_url, code=code()))
    assert of(unknown, "D605").state == "skipped"  # nobody says that there are rows
    notes.execute("analyze notes")
    planner = check_services(make_site(fresh_database.app_url, code=code()))
    assert of(planner, "D605").state == "ok"


@pytest.mark.parametrize(
    ("statement", "codes"),
    [
        ("create policy all_rows on notes using (true)", {"D605"}),
        ("create view notes_open as select * from notes", {"D605"}),
        ("drop policy notes_tenant on notes", {"D604"}),
        ("alter table notes disable row level security", {"D604", "D605"}),
    ],
)
def test_a_policy_that_does_not_bind_is_found_by_trying(
    fresh_database: TestDatabase,
    notes: db.Connection,
    make_site: MakeSite,
    statement: str,
    codes: set[str],
) -> None:
    notes.execute(statement)
    settings = {"database.migrate_url": fresh_database.owner_url}
    found = check_services(make_site(fresh_database.app_url, settings, code=code()))
    assert {c for c, state in states(found).items() if state == "failed"} == codes
    one = of(found, min(codes))
    assert "notes" in one.message
    tried = of(found, "D605")
    assert tried.state != "failed" or tried.next.startswith("psql -c '\\d notes")


def test_policies_that_are_switched_off_are_found_on_our_own_tables_too(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    site = make_site(fresh_database.app_url, code=code())
    assert of(check_services(site), "D604").state == "ok"
    with db.connect(fresh_database.owner_url) as conn:
        conn.execute("alter table forge_audit disable row level security")
    assert of(check_services(site), "D604").message == "forge_audit has no row-level security"


def test_a_table_that_may_not_be_read_is_told_with_the_reason(
    fresh_database: TestDatabase, notes: db.Connection, make_site: MakeSite
) -> None:
    url = make_conninfo(fresh_database.app_url, options="-c row_security=off")
    one = of(check_services(make_site(url, code=code())), "D605")
    assert one.state == "warning" and "would be affected by row-level security" in one.message


def test_a_search_path_without_our_tables_is_a_failure(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    for path in ("elsewhere", ""):
        url = make_conninfo(fresh_database.app_url, options=f"-c search_path={path}")
        one = of(check_services(make_site(url, code=code())), "D509")
        assert one.state == "failed" and "without the schema public" in one.message
        assert one.next == "forge-min config --sources"


@pytest.mark.parametrize("where", ["role {0}", "database {1}", "role {0} in database {1}"])
def test_a_search_path_is_mended_by_the_command_that_is_told(
    fresh_database: TestDatabase, make_site: MakeSite, where: str
) -> None:
    def look() -> Any:
        return of(check_services(make_site(fresh_database.app_url, code=code())), "D509")

    with psycopg.connect(fresh_database.app_url) as conn:
        what = where.format(f'"{conn.info.user}"', f'"{conn.info.dbname}"')
    with psycopg.connect(fresh_database.owner_url, autocommit=True) as conn:
        try:
            conn.execute(f"alter {what} set search_path to elsewhere".encode())
            assert look().state == "failed"
            conn.execute(shlex.split(look().next)[2].encode())
            assert look().state == "ok"
        finally:  # all databases of these tests have the role
            conn.execute(f"alter {what} reset search_path".encode())


def test_a_tenants_table_without_row_level_security_is_known_by_the_code(
    server: EmbeddedServer, wide_code: Path, wide_migrations: Any, make_site: MakeSite
) -> None:
    def load() -> ProjectCode:
        registry = importlib.import_module("gen.registry")
        return loaded(registry.register, importlib.import_module("app").app)

    with make_fresh_database(server, wide_migrations) as database:
        site = make_site(database.app_url, code=load, root=wide_code)
        well = check_services(site)
        assert states(well)["D604"] == states(well)["D601"] == states(well)["D107"] == "ok", well
        assert of(well, "D108").message == "tickets"
        with db.connect(database.owner_url) as conn:
            conn.execute("alter table accounts disable row level security")
        found = check_services(site)
        assert of(found, "D604").message == "accounts has no row-level security"
        owner = make_site(database.owner_url, code=load, root=wide_code)
        assert of(check_services(owner), "D601").state == "failed"


def test_a_superuser_is_no_role_for_an_app(
    server: EmbeddedServer, fresh_database: TestDatabase, notes: db.Connection, make_site: MakeSite
) -> None:
    url = make_conninfo(server.admin_url, dbname=fresh_database.name)
    found = check_services(make_site(url, code=code()))
    assert "is a superuser" in of(found, "D601").message and of(found, "D601").state == "failed"
    assert of(found, "D604").state == of(found, "D605").state == "failed"
    assert "sees rows of notes" in of(found, "D605").message


def test_an_owner_is_a_warning_in_development_and_a_failure_in_production(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    for profile, state in (("dev", "warning"), ("prod", "failed")):
        site = make_site(fresh_database.owner_url, code=code(), profile=profile)
        one = of(check_services(site), "D601")
        assert one.state == state and "owns forge_" in one.message


def test_what_follows_from_a_role_that_no_policy_binds_mends_it(
    server: EmbeddedServer, fresh_database: TestDatabase, notes: db.Connection, make_site: MakeSite
) -> None:
    """`migrate up` takes no right of a role away."""
    role = str(psycopg.conninfo.conninfo_to_dict(fresh_database.app_url)["user"])
    site = make_site(fresh_database.app_url, code=code())
    with db.connect(make_conninfo(server.admin_url, dbname=fresh_database.name)) as admin:
        admin.execute(f"alter role {role} bypassrls")
        admin.execute(f"alter table notes owner to {role}")
        try:
            one = of(check_services(site), "D601")
            command, option, statements = shlex.split(one.next)
            assert one.state == "failed" and (command, option) == ("psql", "-c")
            admin.execute(statements)
            assert of(check_services(site), "D601").state == "ok"
        finally:
            admin.execute(f"alter role {role} nobypassrls")


@pytest.mark.parametrize(("asked", "next"), [("python", "unset FORGE_IMPL"), ("", "pip install")])
def test_a_twin_that_is_asked_for_is_no_installation_to_mend(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, asked: str, next: str
) -> None:
    monkeypatch.setattr("forge_min.fanout.IMPL", "python")
    monkeypatch.setenv("FORGE_IMPL", asked)
    site = make_site("", code=code(), profile="prod", build={"impl": "c"})
    one = of(check_services(site), "D102")
    assert one.state == "failed" and next in one.next


def test_what_follows_from_a_role_that_only_reads_lets_it_write(
    fresh_database: TestDatabase, owner: db.Connection, make_site: MakeSite
) -> None:
    role = str(psycopg.conninfo.conninfo_to_dict(fresh_database.app_url)["user"])
    site = make_site(fresh_database.app_url, code=code())
    owner.execute(f"alter database {fresh_database.name} set default_transaction_read_only = on")
    one = of(check_services(site), "D507")
    assert one.state == "failed"
    setting, *_, statement = shlex.split(one.next)
    options = setting.removeprefix("PGOPTIONS=")
    with db.connect(make_conninfo(fresh_database.owner_url, options=options)) as conn:
        conn.execute(statement)
    assert of(check_services(site), "D507").state == "ok" and role in statement


def test_rights_that_are_missing_and_too_many_are_named(
    fresh_database: TestDatabase, owner: db.Connection, make_site: MakeSite
) -> None:
    role = str(psycopg.conninfo.conninfo_to_dict(fresh_database.app_url)["user"])
    owner.execute(f"revoke insert, delete on forge_event from {role}")
    owner.execute(f"revoke usage on sequence forge_job_claim from {role}")
    owner.execute(f"grant truncate on forge_job to {role}")
    owner.execute(f"grant create on database {fresh_database.name} to {role}")
    found = check_services(make_site(fresh_database.app_url, code=code()))
    lacking, excess = of(found, "D602"), of(found, "D603")
    assert lacking.state == "failed" and "forge_event" in lacking.message
    assert "insert" in lacking.message and "delete" in lacking.message
    assert "forge_job_claim" in lacking.message
    assert excess.state == "warning" and "truncate forge_job" in excess.message
    assert "create schemas" in excess.message
    assert "forge_audit" not in lacking.message + excess.message


def test_what_is_to_be_typed_takes_every_right_beyond_need_away(
    server: EmbeddedServer, fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    name = fresh_database.name
    role = "Odd-" + uuid4().hex[:8]
    url = make_conninfo(fresh_database.app_url, user=role, password="odd")
    with db.connect(make_conninfo(server.admin_url, dbname=name)) as admin:
        admin.execute(
            f"create role \"{role}\" login password 'odd' createrole createdb replication;"
            f'create table "It\'s" (id int);'
            f'grant truncate on "It\'s", forge_job to "{role}", public;'
            f'grant insert on forge_migration to "{role}";'
            f'grant update (actor) on forge_audit to "{role}";'
            f'grant create on schema public to "{role}", public;'
            f'grant create on database {name} to "{role}";'
            f'create role "{role}+" bypassrls; grant "{role}+", pg_read_server_files to "{role}"'
        )
        try:
            found = check_services(make_site(url, code=code()))
            assert states(found)["D509"] == "warning", "it has no time-outs yet"
            excess = of(found, "D603")
            psql, option, statements = shlex.split(excess.next)
            assert (excess.state, psql, option) == ("warning", "psql", "-c")
            assert len(excess.message.split(", ")) == 11  # nine rights; two tables, two roles
            assert f"act as {role}+, pg_read_server_files" in excess.message
            for statement in statements.split("; "):
                admin.execute(statement)
            assert of(check_services(make_site(url, code=code())), "D603").state == "ok"
        finally:
            admin.execute(f'drop owned by "{role}"; drop role "{role}", "{role}+"')


def test_tables_that_somebody_has_locked_are_no_migrations_to_apply(
    fresh_database: TestDatabase, owner: db.Connection, make_site: MakeSite
) -> None:
    with owner.transaction():
        owner.execute("lock table forge_migration, forge_job in access exclusive mode")
        found = check_services(make_site(fresh_database.app_url, code=code()))
    for one in (of(found, "D510"), of(found, "D701")):
        assert one.state == "failed" and one.message == "another session has locked its tables"
        assert "pg_locks" in one.next
    ((rows,),) = owner.execute(
        "select count(*) from pg_locks where granted and mode = 'AccessExclusiveLock'"
    ).fetchall()
    assert rows == 0


# -- limits ----------------------------------------------------------------------------------------


def test_connections_that_do_not_fit_are_a_failure_in_production(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    many = {"server.threads": 100, "server.processes": 4}
    for profile, state in (("dev", "warning"), ("prod", "failed")):
        site = make_site(fresh_database.app_url, many, code=code(), profile=profile)
        assert of(check_services(site), "D508").state == state


def role_and_database(database: TestDatabase) -> tuple[str, str]:
    """The site's own, as ALTER names them."""
    with psycopg.connect(database.app_url) as conn:
        return f'role "{conn.info.user}"', f'database "{conn.info.dbname}"'


def test_a_limit_of_the_role_or_the_database_is_lifted_by_the_command_that_is_told(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    mine = role_and_database(fresh_database)
    with psycopg.connect(fresh_database.owner_url, autocommit=True) as conn:
        try:
            for what in mine:
                conn.execute(f"alter {what} connection limit 3".encode())
            one = of(check_services(make_site(fresh_database.app_url, code=code())), "D508")
            assert one.state == "warning" and "2 are free" in one.message  # the owner has one
            conn.execute(shlex.split(one.next)[2].encode())
            one = of(check_services(make_site(fresh_database.app_url, code=code())), "D508")
            assert one.state == "ok", one
        finally:  # all databases of these tests have the role
            conn.execute(f"alter {mine[0]} connection limit -1".encode())


def test_of_such_a_limit_the_sessions_of_others_are_no_room(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    def look() -> Any:
        return of(check_services(make_site(fresh_database.app_url, code=code())), "D508")

    needed = int(re.findall(r"\d+", look().message)[0])
    with ExitStack() as stack:
        conns = [stack.enter_context(psycopg.connect(fresh_database.owner_url)) for _ in range(4)]
        owner = conns[0]
        owner.autocommit = True
        database = f'database "{owner.info.dbname}"'
        owner.execute(f"alter {database} connection limit {needed + 3}".encode())
        one = look()
        assert one.state == "warning" and f"{needed - 1} are free" in one.message
        owner.execute(shlex.split(one.next)[2].encode())
        assert look().state == "ok"


def test_a_server_without_a_connection_left_is_told_as_that(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    mine = role_and_database(fresh_database)
    with psycopg.connect(fresh_database.owner_url, autocommit=True) as conn:
        for what in mine:
            try:
                conn.execute(f"alter {what} connection limit 0".encode())
                one = of(check_services(make_site(fresh_database.app_url, code=code())), "D501")
                assert one.state == "failed" and "has no free connection" in one.message
            finally:
                conn.execute(f"alter {what} connection limit -1".encode())


def test_other_time_limits_than_configured_are_told(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    settings = {"database.statement_timeout": 7.0}
    one = of(check_services(make_site(fresh_database.app_url, settings, code=code())), "D509")
    assert one.state == "warning" and "statement_timeout is 30000 ms" in one.message
    url = make_conninfo(fresh_database.app_url, options="-c timezone=Europe/Vienna")
    one = of(check_services(make_site(url, code=code())), "D509")
    assert "TimeZone is Europe/Vienna, not UTC" in one.message
    assert "options= in database.url" in one.message and one.next == "forge-min config --sources"


def test_what_migrate_would_not_mend_is_mended_by_the_command_that_is_told(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    def look() -> Any:
        return of(check_services(make_site(fresh_database.app_url, code=code())), "D509")

    with psycopg.connect(fresh_database.app_url) as conn:
        role, place = f'"{conn.info.user}"', f'"{conn.info.dbname}"'
    here = f"role {role} in database {place}"
    with psycopg.connect(fresh_database.owner_url, autocommit=True) as conn:
        try:
            for where, setting in (
                (f"role {role}", "timezone = 'Asia/Tokyo'"),
                (here, "statement_timeout = '1s'"),
                (here, "lock_timeout = '1s'"),
                (here, "jit = on"),
            ):
                conn.execute(f"alter {where} set {setting}".encode())
                one = look()
                assert one.state == "warning" and one.next.startswith("psql -c ")
                conn.execute(shlex.split(one.next)[2].encode())
                assert look().state == "ok"
        finally:  # all databases of these tests have the role
            conn.execute(f"alter role {role} set timezone = 'UTC'".encode())


@pytest.mark.parametrize(("ours", "way"), [(-100.0, "ahead of"), (100.0, "behind")])
def test_the_way_in_which_the_clocks_differ_is_told(
    fresh_database: TestDatabase,
    make_site: MakeSite,
    monkeypatch: pytest.MonkeyPatch,
    ours: float,
    way: str,
) -> None:
    here = time.time
    monkeypatch.setattr(server_checks, "time", SimpleNamespace(time=lambda: here() + ours))
    one = of(check_services(make_site(fresh_database.app_url, code=code())), "D506")
    assert one.state == "warning" and re.search(rf" (99|100)\.\d+ s {way} this", one.message), one


def test_what_others_hold_is_not_to_be_had(
    server: EmbeddedServer, fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    def figures() -> tuple[int, int]:
        message = of(check_services(make_site(fresh_database.app_url, code=code())), "D508").message
        found = re.search(r"and (\d+) are free; other sessions use (\d+)", message)
        assert found, message
        return int(found[1]), int(found[2])

    with ExitStack() as stack:
        conns = [stack.enter_context(db.connect(server.admin_url)) for _ in range(5)]
        names = "'superuser_reserved_connections', 'reserved_connections'"
        ((most,),) = (
            conns[0]
            .execute(
                "select current_setting('max_connections')::int - sum(setting::int)::int "
                f"from pg_settings where name in ({names})"
            )
            .fetchall()
        )
        room, others = figures()
    assert others >= 5 and room + others == most


def test_a_server_newer_than_any_that_was_tested_is_a_warning(
    fresh_database: TestDatabase, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(fresh_database.app_url, code=code())
    assert of(check_services(site), "D502").state == "ok"
    monkeypatch.setattr(server_checks, "NEWEST", 14)
    assert of(check_services(site), "D502").state == "warning"


def test_a_database_elsewhere_wants_tls_in_production(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    url = make_conninfo(fresh_database.app_url, host="db.example", hostaddr="127.0.0.1")
    for profile, state in (("dev", "ok"), ("prod", "warning")):
        one = of(check_services(make_site(url, code=code(), profile=profile)), "D505")
        assert one.state == state and one.message == "the connection to db.example is not encrypted"
    assert one.next.startswith("psql 'sslmode=require host=db.example port=")
    near = make_site(fresh_database.app_url, code=code(), profile="prod")
    assert of(check_services(near), "D505").message == "the database is on this machine"


class Standby(EmbeddedServer):
    """What was stopped, and starts to follow a server that is away: it only reads."""

    def _bootstrap(self) -> None:
        """Its roles are there."""


@pytest.mark.thorough
@pytest.mark.slow
def test_a_server_that_follows_another_takes_no_writes(tmp_path: Path, make_site: MakeSite) -> None:
    with EmbeddedServer(tmp_path / "pg", settings={"fsync": "off"}) as primary:
        assert of(check_services(make_site(primary.app_url, code=code())), "D507").state == "ok"
    (tmp_path / "pg" / "pg" / "standby.signal").touch()
    with Standby(tmp_path / "pg", settings={"fsync": "off"}) as standby:
        one = of(check_services(make_site(standby.app_url, code=code())), "D507")
    assert one.state == "failed" and one.message.startswith("this server is a standby")


# -- jobs ------------------------------------------------------------------------------------------


def test_jobs_that_nobody_works_and_paused_queues_are_named(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    with db.connect(fresh_database.app_url) as conn:
        jobs.insert_tx(conn, "a", queue="mail")
        jobs.insert_tx(conn, "gone")
        jobs.control.pause(conn, "slow")
    found = check_services(make_site(fresh_database.app_url, code=code("a")))
    told = {one.message: one for one in found if one.state in ("warning", "failed")}
    assert told["no worker class for waiting jobs of kind gone"].state == "failed"
    assert (
        told["no worker class for waiting jobs of kind gone"].next
        == "forge-min jobs list --kind gone"
    )
    assert told["jobs of kind a wait, and no living worker has it"].state == "warning"
    queue = told["jobs of the queue mail wait, and no living worker serves it"]
    assert queue.next == "forge-min worker --queues mail=2"
    assert of(found, "D703").next == "forge-min jobs resume slow"


def test_a_name_of_the_database_is_one_word_of_what_is_to_be_typed(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    with db.connect(fresh_database.app_url) as conn:
        jobs.insert_tx(conn, "a; rm x", queue="$(mail)")
        jobs.control.pause(conn, "b 'c")
    found = check_services(make_site(fresh_database.app_url, code=code("a")))
    told = {one.code: shlex.split(one.next) for one in found if one.next}
    assert told["D701"] == ["forge-min", "jobs", "list", "--kind", "a; rm x"]
    assert told["D702"] == ["forge-min", "worker", "--queues", "$(mail)=2"]
    assert told["D703"] == ["forge-min", "jobs", "resume", "b 'c"]


def run_of(owner: db.Connection, *, alive: bool, age: str) -> int:
    """A running job whose worker lives, or not."""
    worker = uuid4()
    ((id,),) = owner.execute(
        "insert into forge_job (kind, state, attempt, attempted_at, worker_id, claim) values "
        f"('a', 'running', 1, now() - interval '{age}', %s, 7) returning id",
        [worker],
    ).fetchall()
    owner.execute(
        "insert into forge_worker (id, host, pid, queues, kinds, expires_at) values "
        "(%s, 'h', 1, '{\"default\": 1}', '{a}', now() + %s * interval '1 minute')",
        [worker, 1 if alive else -1],
    )
    return int(id)


def test_a_dead_workers_job_is_a_failure_until_another_worker_lives(
    fresh_database: TestDatabase, owner: db.Connection, make_site: MakeSite
) -> None:
    id = run_of(owner, alive=False, age="10 seconds")
    site = make_site(fresh_database.app_url, code=code("a"))
    one = of(check_services(site), "D706")
    assert one.state == "failed" and re.match(rf"a {id} \([1-9]\d s\): ", one.message)
    run_of(owner, alive=True, age="1 second")
    found = check_services(site)
    assert of(found, "D706").state == "warning" and of(found, "D707").state == "ok"


def test_a_job_beyond_its_time_is_told_with_its_number(
    fresh_database: TestDatabase, owner: db.Connection, make_site: MakeSite
) -> None:
    id = run_of(owner, alive=True, age="1 hour")
    one = of(check_services(make_site(fresh_database.app_url, code=code("a"))), "D707")
    assert one.state == "warning" and one.next == f"forge-min jobs show {id}"


def test_a_queue_that_no_worker_serves_is_a_warning_before_a_job_waits(
    fresh_database: TestDatabase, owner: db.Connection, make_site: MakeSite
) -> None:
    def register(registry: Any, prefix: str) -> list[Any]:
        work = {"kind": "Reindex", "queue": "index", "work": lambda self, job: None}
        registry.add_workers([type("Reindex", (), work)])
        return []

    site = make_site(fresh_database.app_url, code=lambda: loaded(register))
    one = of(check_services(site), "D708")
    assert one.state == "warning" and one.next == "forge-min worker --queues index=2"
    assert one.message == "no worker serves index, so jobs of Reindex will wait"
    owner.execute(
        "insert into forge_worker (id, host, pid, queues, kinds, expires_at) values"
        " (gen_random_uuid(), 'h', 1, '{\"index\": 1}', '{}', now() + interval '1 minute')"
    )
    assert of(check_services(site), "D708").state == "ok"


def test_a_backlog_and_discarded_jobs_are_told(
    fresh_database: TestDatabase, owner: db.Connection, make_site: MakeSite
) -> None:
    owner.execute(
        "insert into forge_job (kind, scheduled_at) values ('a', now() - interval '2 hours');"
        "insert into forge_job (kind, state, finalized_at) values ('b', 'discarded', now()), "
        "('b', 'discarded', now()), ('c', 'discarded', now() - interval '3 days')"
    )
    found = check_services(make_site(fresh_database.app_url, code=code("a")))
    assert of(found, "D704").message == "1 jobs of default wait, the oldest for 2 h"
    assert of(found, "D705").message == "within a day: 2 of b"


def test_a_processes_share_of_connections_grows_with_what_it_runs(make_site: MakeSite) -> None:
    one = most_connections(make_site())
    assert one == 10 + 8 + 4 + 10 + 5
    assert most_connections(make_site("", {"jobs.enabled": False})) == one - 14
    assert most_connections(make_site("", {"server.processes": 3})) == 3 * (one - 5) + 5
    assert most_connections(make_site(hosts=4)) == 4 * one
    followed = make_site("", {"database.replica_urls": ("postgresql://a@b/c",)})
    assert most_connections(followed) == one + 1


def test_connections_to_standbys_are_told(
    fresh_database: TestDatabase, make_site: MakeSite
) -> None:
    def message(**settings: object) -> str:
        values = {name.replace("_", ".", 1): value for name, value in settings.items()}
        site = make_site(fresh_database.app_url, values, code=code(), hosts=3)
        return of(check_services(site), "D508").message

    urls = ("postgresql://a@b/c", "postgresql://a@d/c")
    assert "standby" not in message(server_processes=2)
    # Three hosts, two processes each: eight threads, a sampler and a probe.
    told = message(server_processes=2, database_replica_urls=urls)
    assert told.endswith("; each standby needs up to 60")
