"""Tenants apart in PostgreSQL itself, as the app's role with SQL of its own; and still fast."""

from __future__ import annotations

import psycopg
import pytest
from forge_min.db import connect
from forge_min.migrations import desired_sql

from migrations.world import Schema

pytestmark = pytest.mark.db
A = "00000000-0000-7000-8000-00000000000a"
B = "00000000-0000-7000-8000-00000000000b"
ROWS = 200_000
MOST = 200  # buffers
QUERIES = [
    "select id, code from accounts_tenant"
    " where forge_search @@ websearch_to_tsquery('simple', 'comet 100010')"
    " order by ts_rank(forge_search, websearch_to_tsquery('simple', 'comet 100010')) desc, id"
    " limit 25",
    "select id from accounts_tenant where forge_search @@ websearch_to_tsquery('simple', 'comet')",
    "select id, price from accounts_tenant"
    " where (price, id) > (150000, '00000000-0000-0000-0000-000000000000')"
    " order by price, id limit 25",
    "select id, price from accounts_tenant where price >= 199000 order by price, id limit 25",
    "select id from accounts_tenant order by id limit 25",
    "select id from accounts_tenant where code = 'star 110'",
]
REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.WithCheckOptionViolation)


@pytest.fixture
def tables(conn, schema: Schema):
    """Tenant-scoped accounts and orders, with tags between; a row of each tenant."""
    account = schema.define(
        "Account",
        schema.field("code", unique=True, searchable=True),
        schema.field("price", "decimal", sortable=True),
        schema.many_to_many("tags", "Tag"),
        tenant_scoped=True,
    )
    order = schema.define(
        "Order", schema.belongs_to("account", "Account", on_delete="set_null"), tenant_scoped=True
    )
    tag = schema.define("Tag", schema.field("slug", "slug", primary_key=True), tenant_scoped=True)
    conn.execute(desired_sql([account, order, tag]))
    for tenant in (A, B):
        conn.execute("insert into accounts (tenant_id, code) values (%s, 'mine')", [tenant])
        conn.execute("insert into tags (tenant_id, slug) values (%s, 'red')", [tenant])
    return conn


@pytest.fixture
def app(tables, fresh_database):
    """The app's role, as tenant A."""
    with connect(fresh_database.app_url) as app:
        app.execute("select set_config('forge.tenant_id', %s, false)", [A])
        yield app


def ids(conn, tenant):
    return conn.execute("select id from accounts where tenant_id = %s", [tenant]).fetchone()[0]


@pytest.mark.parametrize("source", ["accounts", "accounts_tenant", "tags", "tags_tenant"])
def test_only_rows_of_the_tenant_are_read(app, source):
    assert app.execute(f"select tenant_id::text from {source}").fetchall() == [(A,)]
    for nobody in ("", B.replace("b", "c")):
        app.execute("select set_config('forge.tenant_id', %s, false)", [nobody])
        assert app.execute(f"select tenant_id from {source}").fetchall() == []


@pytest.mark.parametrize("place", ["accounts", "accounts_tenant"])
def test_no_row_of_another_tenant_is_written(app, tables, place):
    with pytest.raises(REFUSED):
        app.execute(f"insert into {place} (tenant_id, code) values (%s, 'x')", [B])
    with pytest.raises(REFUSED):
        app.execute(f"update {place} set tenant_id = %s, code = 'x'", [B])
    app.execute(f"update {place} set code = 'changed'")
    query = "select code from accounts order by tenant_id"
    assert tables.execute(query).fetchall() == [("changed",), ("mine",)]
    app.execute(f"delete from {place}")
    assert tables.execute(query).fetchall() == [("mine",)]


def test_no_row_of_another_tenant_is_referred_to(app, tables):
    theirs, own = ids(tables, B), ids(tables, A)
    insert = "insert into orders (tenant_id, account_id) values (%s, %s)"
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught:
        app.execute(insert, [A, theirs])
    assert caught.value.diag.constraint_name == "orders_account_id_fkey"
    app.execute(insert, [A, own])
    join = "insert into accounts_tags (tenant_id, account_id, tag_id) values (%s, %s, 'red')"
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        app.execute(join, [A, theirs])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(join, [B, theirs])
    app.execute(join, [A, own])


def test_a_join_row_of_another_tenant_is_not_seen(app, tables):
    tables.execute(
        "insert into accounts_tags select tenant_id, id, 'red' from accounts where tenant_id = %s",
        [B],
    )
    assert app.execute("select * from accounts_tags").fetchall() == []


def test_set_null_leaves_the_tenant(app, tables):
    own = ids(tables, A)
    app.execute("insert into orders (tenant_id, account_id) values (%s, %s)", [A, own])
    app.execute("delete from accounts where id = %s", [own])
    query = "select tenant_id::text, account_id from orders"
    assert app.execute(query).fetchall() == [(A, None)]


def test_what_is_unique_is_so_within_a_tenant_and_among_rows_that_are_there(conn, schema):
    thing = schema.define(
        "Thing", schema.field("code", unique=True), tenant_scoped=True, soft_delete=True
    )
    conn.execute(desired_sql([thing]))
    insert = "insert into things (tenant_id, code) values (%s, 'a')"
    conn.execute(insert, [A])
    conn.execute(insert, [B])
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        conn.execute(insert, [A])
    assert caught.value.diag.constraint_name == "things_code_key"
    conn.execute("update things set deleted_at = now()")
    conn.execute(insert, [A])


@pytest.fixture
def many(tables):
    """ROWS accounts of a hundred tenants, among them A: every one hundredth, and one in a hundred
    of those about a comet.
    """
    tables.execute("truncate accounts cascade")
    tables.execute(
        "insert into accounts (tenant_id, code, price) select"
        " ('00000000-0000-7000-8000-0000000000' || lpad(to_hex(n %% 100), 2, '0'))::uuid,"
        " case when n / 100 %% 100 = 0 then 'comet ' else 'star ' end || n, n"
        " from generate_series(1, %s) n",
        [ROWS],
    )
    tables.execute("vacuum analyze accounts")
    return tables


def buffers(app, query: str) -> int:
    """How many buffers the query touches, when its plan and the catalog are known."""
    app.execute(query)
    found = app.execute(f"explain (analyze, buffers, format json) {query}").fetchone()[0]
    plan = found[0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@pytest.mark.thorough
def test_search_and_deep_pages_use_their_index_behind_the_policy(app, many):
    """Of one set of rows, whose making takes longer than all else in this file."""
    for query in QUERIES:
        assert app.execute(query).fetchall() != [], query
        assert buffers(app, query) <= MOST, query
