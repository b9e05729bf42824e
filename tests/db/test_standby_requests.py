"""Reads and writes of a request whose database has standbys."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from forge_min import db
from forge_min.actions import ListQuery
from forge_min.actions.reader import ReadActions
from forge_min.auth import as_identity
from forge_min.db import ANY_POSITION, Consistency, WalPosition, consistency, transactions
from forge_min.db.replicas import UNKNOWN_POSITION, Replica
from forge_min.errors import ForgeError
from forge_min.testing import TestDatabase
from psycopg.conninfo import make_conninfo

from bookshop import LANGUAGES, NORTH, SOUTH, Bookshop

pytestmark = pytest.mark.db


class OneStandby:
    """Chooses the same standby for each request; None: never one."""

    def __init__(self, url: str | None) -> None:
        self.database = db.Database(url or "")
        self.replica = Replica(self.database.connection) if url else None

    def choose(self, request: Consistency, required: WalPosition) -> Any:
        return self.replica and (self.replica.connection(), self.replica)


@contextmanager
def request_of(required: WalPosition | None) -> Iterator[Consistency]:
    current = Consistency(required)
    token = consistency.set(current)
    try:
        yield current
    finally:
        consistency.reset(token)


@pytest.fixture
def owner(fresh_database: TestDatabase) -> Iterator[db.Connection]:
    with db.connect(fresh_database.owner_url) as conn:
        yield conn


@pytest.fixture
def database(fresh_database: TestDatabase, owner: db.Connection) -> Iterator[db.Database]:
    owner.execute("create table languages (code text primary key, version bigint default 1)")
    owner.execute("insert into languages values ('de')")
    owner.execute("grant all on languages to public")
    found = db.Database(fresh_database.app_url)
    found.replicas = OneStandby(None)  # type: ignore[assignment]
    yield found
    found.close()


def test_a_committed_transaction_without_a_position_is_no_error(
    database: db.Database, owner: db.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, hooks = transactions.check_replicated, list[str]()

    def cut(conn: db.Connection) -> None:
        """The network is cut right after the response to COMMIT."""
        check(conn)
        with socket.socket(fileno=os.dup(conn.fileno())) as sock:
            sock.shutdown(socket.SHUT_RDWR)

    monkeypatch.setattr(transactions, "check_replicated", cut)
    with request_of(None) as request:
        conn = database.connection()
        with db.transaction(conn):
            db.run(conn, "insert into languages values ('fr')")
            db.after_commit(conn, lambda: hooks.append("ran"))
    assert hooks == ["ran"]
    assert request.written == UNKNOWN_POSITION
    assert owner.execute("select count(*) from languages").fetchall() == [(2,)]


def test_a_read_only_query_has_no_position(database: db.Database) -> None:
    with request_of(None) as request:
        db.query(database.connection(), "select 1 as x", None, dict, None, False)
        assert request.written is None
        db.query(
            database.connection(), "insert into languages values ('fr')", None, dict, None, True
        )
        assert request.written is not None


def test_own_sql_that_writes_is_refused_without_a_standby(database: db.Database) -> None:
    conn = database.connection()
    database.standbys.are_missing = True
    with pytest.raises(ForgeError) as refused:
        db.query(conn, "insert into languages values ('fr')", None, dict, None, True)
    assert refused.value.code == "F419"
    assert db.query(conn, "with x as (select 1 as n) select n from x", None, dict, None, False)


def test_an_error_on_a_standby_is_repeated_on_the_primary(
    database: db.Database, fresh_database: TestDatabase
) -> None:
    # This database lacks the table, as a standby that has not replayed a migration.
    standby = OneStandby(make_conninfo(fresh_database.app_url, dbname="postgres"))
    database.replicas = standby  # type: ignore[assignment]
    actions = type("Languages", (ReadActions,), {"resource": LANGUAGES})(database)
    with request_of(ANY_POSITION) as request:
        assert actions.run_sql("select code from languages", into=dict) == [{"code": "de"}]
        assert request.required is None
    assert standby.replica is not None and standby.replica.suspended_until == 0.0
    standby.database.close()


def test_the_total_of_a_tenant_with_conditions_reveals_no_values_of_others(
    fresh_database: TestDatabase,
) -> None:
    shop = Bookshop(fresh_database)
    for identity, title in ((NORTH, "'book ' || n"), (SOUTH, "'Takeover of Acme'")):
        shop.owner.execute(
            f"insert into books (id, tenant_id, title, pages) select gen_random_uuid(),"
            f" '{identity.tenant}', {title}, n from generate_series(1, 20000) n"
        )
    shop.owner.execute("analyze books")
    with as_identity(NORTH):
        pages = [
            shop["books"].list(ListQuery.of(shop["books"].resource, {"title[ne]": title}, page=1))
            for title in ("Takeover of Acme", "Takeover of Beta")
        ]
    shop.close()
    assert [(page.total, page.is_estimate) for page in pages] == [(10_001, True)] * 2
