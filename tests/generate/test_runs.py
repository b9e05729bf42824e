"""Generated code at work on a real database, as the role of the application."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from forge_min import db
from forge_min.actions import Registry
from forge_min.auth import Identity, as_identity
from forge_min.testing import Factory, TestDatabase

pytestmark = pytest.mark.db
TENANT = uuid4()
SOMEBODY = Identity("ann", frozenset({"member", "manager", "admin"}), TENANT)


@pytest.fixture
def migrations(wide_project: Path) -> list[db.MigrationFile]:
    return [*db.FORGE_MIGRATIONS, *db.read_migrations(wide_project / "migrations")]


@pytest.fixture
def owner(
    fresh_database: TestDatabase, migrations: list[db.MigrationFile]
) -> Iterator[db.Connection]:
    conn = db.connect(fresh_database.owner_url)
    db.migrate(conn, migrations)
    yield conn
    conn.close()


@pytest.fixture
def registry(
    wide_code: Path, owner: db.Connection, fresh_database: TestDatabase
) -> Iterator[Registry]:
    database = db.Database(fresh_database.app_url)
    made = Registry(database, {})
    importlib.import_module("gen.registry").register(made, "/api/v1")
    made.bind_hooks()
    with as_identity(SOMEBODY):
        yield made
    database.close()


def order(registry: Registry) -> Any:
    account = registry.actions["accounts"].create({"slug": "acme", "name": "Acme"})
    data = {"number": "1", "kind": "sale", "lane": "fast", "total": "9.90", "from": "Oslo"}
    return registry.actions["orders"].create(data | {"account_id": account.id})


def test_a_column_more_of_forge_job_needs_no_regenerate(
    registry: Registry, owner: db.Connection, wide_code: Path
) -> None:
    owner.execute("alter table forge_job add column mood text not null default 'calm'")
    made = order(registry)
    found = owner.execute("select kind, mood, args ->> 'id' from forge_job").fetchall()
    assert sorted(found) == [(kind, "calm", str(made.id)) for kind in ("Bill", "Notify")]
    code = [path.read_text() for path in (wide_code / "gen").glob("*/*.py")]
    assert not [text for text in code if "forge_job" in text or "forge_event" in text]


def test_words_of_python_and_sql_are_names_like_others(registry: Registry) -> None:
    made = order(registry)
    assert made.from_ == "Oslo" and made.select is None
    shown = registry.actions["orders"].to_json(made)
    assert shown["from"] == "Oslo" and "from_" not in shown
    classes = registry.actions["classes"]
    row = classes.create({"code": "AB", "class": "first", "self": "me"})
    assert (row.class_, row.def_, row.import_, row.self) == ("first", False, 0, "me")
    assert classes.update("AB", {"class": "second"}).class_ == "second"


def test_a_typed_query_lists_what_it_names(registry: Registry) -> None:
    made = order(registry)
    orders = registry.actions["orders"]
    query = orders.query({"kind": "sale", "total[gte]": 9, "account_id": made.account_id})
    assert [row.id for row in orders.list(query).rows] == [made.id]
    assert orders.list(orders.query({"kind[in]": ["return"]}, sort="-total", limit=1)).rows == []


def test_every_type_comes_back_as_its_row_says(registry: Registry) -> None:
    documents = registry.actions["documents"]
    given = {
        "string": "Of mice",
        "bigint": 2**52,
        "json": [1, {"a": None}],
        "slug": "of-mice",
        "email": "Ann@example.org",
        "url": "https://example.org/",
        "settings": {"deep": [True]},
    }
    row = documents.create(given)
    shown = documents.resource.to_json(row)
    assert {name: shown[name] for name in given} == given | {"settings": {"deep": [True]}}
    assert (shown["int"], shown["decimal"], shown["date"]) == (1, "1.500", "2026-01-31")
    assert shown["datetime"] == "2026-01-31T12:00:00Z" and shown["enum"] == "draft"
    assert documents.create_many([given | {"slug": "men"}, given | {"slug": "both"}]) == 2


def test_a_factory_makes_rows_of_every_resource(registry: Registry) -> None:
    by_hand = {"classes": {"code": "AB"}}
    for topic, actions in registry.actions.items():
        row = Factory.of(registry, topic).create(**by_hand.get(topic, {}))
        shown = actions.get(actions.key_of(row))
        assert shown.version == 1 and type(shown) is type(row), topic
    more = Factory.of(registry, "orders").create_many(3, kind="return")
    assert len({row.number for row in more} | {row.account_id for row in more}) == 6


def test_events_are_called_as_the_resource_is_also_where_that_is_a_word_of_python(
    registry: Registry,
) -> None:
    assert registry.actions["classes"].resource.event == "class"
