"""The scratch database, also where the owner may not create one."""

from __future__ import annotations

import pytest
from forge_min.db import connect, scratch_database
from forge_min.errors import Unavailable
from psycopg.conninfo import make_conninfo

pytestmark = pytest.mark.db


@pytest.fixture
def poor(server, fresh_database):
    """The address of an owner who may not create databases."""
    with connect(server.admin_url) as admin:
        admin.execute("create role poor login password 'poor'")
        try:
            yield make_conninfo(fresh_database.owner_url, user="poor", password="poor")
        finally:
            admin.execute("drop role poor")


def there(conn) -> set[str]:
    query = "select datname from pg_database where starts_with(datname, 'forge_scratch_')"
    return {name for (name,) in conn.execute(query)}


def test_it_is_empty_and_gone_afterwards(fresh_database, conn):
    with scratch_database(fresh_database.owner_url) as other:
        assert other.execute("select to_regclass('forge_event')").fetchone() == (None,)
        name = other.info.dbname
        assert name in there(conn)
    assert name not in there(conn)


def test_one_that_a_kill_left_behind_is_replaced_and_others_stay(fresh_database, conn):
    url = fresh_database.owner_url
    with scratch_database(url) as other:
        left = other.info.dbname
    for name in (left, "forge_scratch_of_mine"):
        conn.execute(f"create database {name}")
    with connect(make_conninfo(url, dbname=left)) as kept:
        kept.execute("create table forgotten (id int)")
        with scratch_database(url) as other:
            assert other.execute("select to_regclass('forgotten')").fetchone() == (None,)
            assert "forge_scratch_of_mine" in there(conn)
    assert left not in there(conn)
    conn.execute("drop database forge_scratch_of_mine")


def test_without_createdb_a_server_of_our_own_serves(poor):
    with connect(poor) as conn:
        here = conn.execute("select system_identifier from pg_control_system()").fetchone()
    with scratch_database(poor) as other:
        other.execute("create table mine (id int)")
        there = other.execute("select system_identifier from pg_control_system()").fetchone()
        assert there != here


def test_where_no_server_can_be_had_the_role_is_the_thing_to_mend(poor, monkeypatch):
    from forge_min.db import EmbeddedServer

    def start(self):
        raise Unavailable("no PostgreSQL here", code="F420")

    monkeypatch.setattr(EmbeddedServer, "start", start)
    with pytest.raises(Unavailable, match="no PostgreSQL here") as caught:
        with scratch_database(poor):
            pass
    assert caught.value.code == "F408" and "createdb" in caught.value.hint
