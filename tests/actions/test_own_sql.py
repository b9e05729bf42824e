"""SQL of an application's own, within the tenant of the current identity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from forge_min import db
from forge_min.auth import ANONYMOUS, Identity, as_identity
from forge_min.errors import DatabaseError, Forbidden, ForgeError, Unauthenticated
from forge_min.testing import TestDatabase
from psycopg import sql as compose

from workshop import ANN, BOB, NORTH, Workshop, workshop

pytestmark = pytest.mark.db

COUNT = "select name, count(*) as number from products group by name order by name"
RENAME = "update products set name = %(name)s returning code"


@dataclass(frozen=True)
class Count:
    number: int
    name: str


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    """A workshop with two products of North and one of South."""
    with workshop(fresh_database) as made:
        for who, code in ((ANN, "A"), (ANN, "B"), (BOB, "C")):
            made.product(code, who, name=f"of {who.user}")
        yield made


def test_rows_are_those_of_the_tenant_as_dataclasses(works: Workshop) -> None:
    for who, number in ((ANN, 2), (BOB, 1)):
        with as_identity(who):
            found = works["products"].run_sql(COUNT, into=Count)
            assert found == [Count(number, f"of {who.user}")]
            assert works["units"].run_sql(COUNT, into=Count) == found
            named = "select code from products where code = any(%(codes)s)"
            codes = works["makers"].run_sql(named, {"codes": ["A", "C"]}, into=dict)
            assert codes == [{"code": "A" if who is ANN else "C"}]


def test_it_is_read_only_unless_it_says_that_it_writes(works: Workshop) -> None:
    products = works["products"]
    with as_identity(ANN):
        with pytest.raises(DatabaseError, match="read-only"):
            products.run_sql(RENAME, {"name": "x"}, into=dict)
        with pytest.raises(DatabaseError):
            products.run_sql("commit; delete from products", into=dict)
        assert products.run_sql(COUNT, into=Count) == [Count(2, "of ann")]
        written = products.run_sql(RENAME, {"name": "x"}, into=dict, write=True)
        assert written == [{"code": "A"}, {"code": "B"}]
        assert products.run_sql("delete from products", into=dict, write=True) == []
    assert works.sql("select code, name from products") == [("C", "of bob")]


def test_it_may_be_repeated_after_a_transaction_that_was_rolled_back(works: Workshop) -> None:
    products, conn = works["products"], works.database.connection()
    with as_identity(ANN):
        for _ in range(3 + (conn.prepare_threshold or 0)):
            products.run_sql(COUNT, into=Count)
        with pytest.raises(RuntimeError), db.transaction(conn):
            products.create({"code": "D", "name": "x"}, conn=conn)
            raise RuntimeError
        assert products.run_sql(COUNT, into=Count) == [Count(2, "of ann")]


def test_copy_is_an_error_and_the_thread_goes_on(works: Workshop) -> None:
    products = works["products"]
    with as_identity(ANN):
        for write in (False, True):
            with pytest.raises(ForgeError):
                products.run_sql("copy products to stdout", into=dict, write=write)
            assert products.run_sql(COUNT, into=Count) == [Count(2, "of ann")]


def test_a_transaction_goes_on_as_it_was(works: Workshop) -> None:
    products, conn = works["products"], works.database.connection()
    with as_identity(ANN), db.transaction(conn):
        products.create({"code": "D", "name": "new"}, conn=conn)
        assert Count(1, "new") in products.run_sql(COUNT, into=Count, conn=conn)
        with pytest.raises(ForgeError):
            products.run_sql("select 1 / 0", into=dict, conn=conn)
        products.create({"code": "E", "name": "new"}, conn=conn)
        with pytest.raises(RuntimeError), db.transaction(conn):
            products.run_sql(RENAME, {"name": "x"}, into=dict, write=True, conn=conn)
            raise RuntimeError
    assert works.sql("select name, count(*) from products group by name order by name") == [
        ("new", 2),
        ("of ann", 2),
        ("of bob", 1),
    ]
    shown = "select current_setting('transaction_read_only')"
    assert conn.execute(shown).fetchall() == [("off",)]


def test_who_has_no_tenant_is_told_so(works: Workshop) -> None:
    conn = works.database.connection()
    conn.tenant_tables = {"products", "products_of_tenant"}
    for who, error in ((ANONYMOUS, Unauthenticated), (Identity("eve"), Forbidden)):
        with as_identity(who), pytest.raises(error):
            works["products"].run_sql(COUNT, into=Count)
    with as_identity(Identity("eve")):
        for text in (COUNT, 'select 1 from only "public"."products_of_tenant" x', RENAME):
            with pytest.raises(ForgeError) as caught:
                works["units"].run_sql(text, {"name": ""}, into=dict)
            assert caught.value.code == "F418"
        assert works["units"].run_sql("select 1 as products", into=dict) == [{"products": 1}]


def test_in_development_a_cursor_without_a_tenant_is_told_so(works: Workshop) -> None:
    conn: Any = works.database.connection()
    conn.tenant_tables = {"products"}
    assert conn.execute(COUNT).fetchall() == []  # as PostgreSQL answers
    conn.checks_tenant = True
    composed = compose.SQL("select * from {}").format(compose.Identifier("products"))
    listed = 'select 1 from units as u, public."products" p'
    for query in (COUNT, composed, "select 1 from units join products on true", listed):
        with pytest.raises(ForgeError) as caught:
            conn.execute(query)
        assert caught.value.code == "F418"
    assert conn.execute("select 'products' as products").fetchall() == [("products",)]
    for text in (
        "select 'from products', $$ from products $$, 'it''s from products' -- from products",
        "select E'\\' from products' /* from products\n join products */",
        "with x as (select 1), products (a) as materialized (select 1) select * from products",
        "select 1 is distinct from products, products from (select 1 as products) x",
    ):
        conn.execute(text)
    with db.transaction(conn):
        conn.execute("select set_config('forge.tenant_id', %s, true)", [str(NORTH)])
        assert conn.execute(COUNT).fetchall() == [("of ann", 2)]
    with pytest.raises(ForgeError):
        conn.execute(COUNT)
