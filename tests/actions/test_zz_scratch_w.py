from __future__ import annotations
import random, string, threading
from functools import partial
from uuid import uuid4
import pytest
from forge_min import db
from forge_min.auth import as_identity, Identity
from forge_min.errors import *
from workshop import ANN, BOB, BOSS, NORTH, WRITER, Workshop, together, workshop
pytestmark = pytest.mark.db

@pytest.fixture
def works(fresh_database):
    with workshop(fresh_database) as made:
        yield made

def test_child(works):
    with as_identity(ANN):
        m = works["makers"].create({"name": "m"})
        with db.transaction(works.owner):
            works.owner.execute("insert into products (id, tenant_id, code, maker_id) values (gen_random_uuid(), %s, 'A', %s)", (NORTH, m.id))
            conn = works.database.connection()
            conn.execute("set lock_timeout='300ms'")
            works["makers"].update(m.id, {"name": "n"})

def noise(n):
    return "".join(random.choices(string.ascii_letters + string.digits, k=n))

@pytest.mark.parametrize("n", [3000, 20000])
def test_big(works, n):
    works.owner.execute("create index units_name_idx on units (name)")
    try:
        works["units"].create({"code": "a", "name": noise(n)})
    except Exception as e:
        print(repr(e), e.code, repr(e.__cause__), e.__cause__.diag.table_name, e.__cause__.diag.constraint_name)
        raise

def test_tsv(works):
    works.owner.execute("alter table units add t tsvector generated always as (to_tsvector('simple', coalesce(name,''))) stored")
    words = " ".join("%x" % n for n in range(100000, 300000))
    works["units"].create({"code": "a", "name": words})

def test_ids(works):
    ids = [uuid4() for _ in range(40)]
    def load(n):
        with as_identity(ANN):
            for r in range(30):
                works["products"].upsert_many([{"id": i, "code": str(i)[:20], "price": n} for i in RUN[r]], key="id")
    RUN = [[uuid4() for _ in range(5)] for _ in range(30)]
    errs = together(*[partial(load, n) for n in range(6)])
    print(errs)
    assert errs == []

def test_before(works):
    made = works.product("A", price="1.10", seen_at="2026-01-01T00:00:00+02:00")
    with as_identity(ANN):
        works["products"].update(made.id, {"name": "x"})
    print(works.sql("select args from forge_job where kind='Changed'"))

def test_friends(works):
    with as_identity(WRITER):
        a = works["people"].create({"name": "a"}); b = works["people"].create({"name": "b"})
    def go(x, y):
        with as_identity(WRITER):
            for n in range(60):
                works["people"].update(x.id, {"friends_ids": [y.id] if n % 2 else [], "name": str(n)})
    import forge_min.actions.base as base
    slept = []
    real = base.time.sleep
    base.time.sleep = lambda s: (slept.append(s), real(s))
    try:
        errs = together(partial(go, a, b), partial(go, b, a))
    finally:
        base.time.sleep = real
    print(len(slept), errs)
    assert errs == [] and slept == []

def test_readonly(works):
    works.database.connection().execute("set default_transaction_read_only = on")
    works["units"].create({"code": "a"})
