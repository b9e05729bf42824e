"""Values that PostgreSQL cannot index: it does not say whose they are, the actions do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from forge_min import db
from forge_min.actions import Actions, Check, Column, Registry
from forge_min.auth import as_identity
from forge_min.errors import Invalid
from forge_min.testing import TestDatabase

from workshop import ANN, ID, VERSION, resource

pytestmark = pytest.mark.db

TABLE = """
create table papers (
  id uuid primary key, title text unique, note text, body text, data jsonb,
  version bigint not null default 1,
  forge_search tsvector generated always as (to_tsvector('simple', coalesce(body, ''))) stored);
create index on papers (note);
grant all on papers to public;
"""


def check(c: Check) -> None:
    c.string("title")
    c.string("note")
    c.string("body")
    c.json("data")
    c.unknown()


class Papers(Actions[Any, Any, Any]):
    resource = resource(
        "Paper",
        "papers",
        (
            ID,
            Column("title", "string", unique=True),
            Column("note", "string", filterable=True),
            Column("body", "string"),
            Column("data", "json"),
            VERSION,
        ),
        check,
    )


@pytest.fixture
def papers(fresh_database: TestDatabase) -> Iterator[Papers]:
    with db.connect(fresh_database.owner_url) as owner:
        owner.execute(TABLE)
    database = db.Database(fresh_database.app_url)
    with as_identity(ANN):
        yield Registry(database, {}).add(Papers)
    database.close()


def noise(length: int) -> str:
    """Text that does not shrink."""
    return "".join(random.Random(length).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length))


WORDS = " ".join(f"{n:x}" for n in range(190_000))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"title": noise(5_000), "body": "b" * 9_000}, ["title"]),
        ({"title": noise(20_000)}, ["title"]),
        ({"note": noise(20_000), "title": "t"}, ["note"]),
        ({"note": noise(9_000), "title": noise(9_001)}, ["note", "title"]),
        ({"body": WORDS, "title": "t", "data": {"x": "y" * 2_000_000}}, ["body"]),
    ],
)
def test_a_value_too_long_for_an_index_is_named(
    papers: Papers, given: dict[str, Any], named: list[str]
) -> None:
    made = papers.create({"title": "kept"})
    for write in (
        lambda: papers.create(given),
        lambda: papers.update(made.id, given),
        lambda: papers.create_many([{"title": "x"}, given]),
        lambda: papers.upsert_many([{"title": "x"}, {"title": "y", **given}], key="title"),
    ):
        with pytest.raises(Invalid) as caught:
            write()
        found = [(error.pointer, error.code) for error in caught.value.errors]
        assert sorted(found) == [("/" + name, "too_long") for name in named]
    assert [row.title for row in papers.list().rows] == ["kept"]
