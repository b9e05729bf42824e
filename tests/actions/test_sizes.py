"""Values that PostgreSQL cannot index: it does not say whose they are, the actions do."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from forge_min import db
from forge_min.actions import Actions, Check, Column, Filter, Limits, ListQuery, Registry, Sort
from forge_min.auth import as_identity
from forge_min.errors import BadRequest, Invalid
from forge_min.testing import TestDatabase
from forge_min.wsgi.response import to_json

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


def read_all(papers: Papers, query: ListQuery) -> list[Any]:
    pages = [papers.list(query)]
    while pages[-1].next:
        pages.append(papers.list(replace(query, cursor=pages[-1].next)))
    return pages


WORDS = " ".join(f"{n:x}" for n in range(190_000))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"title": noise(5_000), "body": "b" * 9_000}, ["title"]),
        ({"title": noise(20_000)}, ["title"]),
        ({"note": noise(20_000), "title": "t"}, ["note"]),
        ({"note": noise(9_000), "title": noise(9_001)}, ["note", "title"]),
        ({"body": WORDS, "title": "t", "data": {"x": "y" * 1_000_000}}, ["body"]),
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


def test_a_list_by_cursor_ends_before_it_is_too_large(papers: Papers) -> None:
    papers.limits = Limits(response=10_000)
    made = [papers.create({"title": f"{n}", "body": "é" * 1_500}) for n in range(6)]
    newest = [row.title for row in sorted(made, key=lambda row: row.id, reverse=True)]
    with pytest.raises(BadRequest, match="larger than 10000 bytes") as caught:
        papers.list(ListQuery(page=1))
    assert caught.value.code == "F646"
    for query, expected in (
        (ListQuery(), newest),
        (ListQuery(limit=4), newest),
        (ListQuery(sorts=(Sort(ID),)), newest[::-1]),
        (ListQuery(sorts=(Sort(papers.resource.columns[2]), Sort(ID))), newest[::-1]),
    ):
        first = papers.list(query)
        last = papers.list(replace(query, cursor=first.next))
        assert [[row.title for row in page.rows] for page in (first, last)] == [
            expected[:3],
            expected[3:],
        ]
        assert first.prev is None and last.next is None
        back = papers.list(replace(query, cursor=last.prev))
        assert (back.rows, back.prev) == (first.rows, None)
        *_, end = read_all(papers, replace(query, limit=1))
        back = papers.list(replace(query, cursor=end.prev))
        assert [row.title for row in back.rows] == expected[2:5] and back.prev is not None
    assert [row.title for row in papers.list(ListQuery(limit=2)).rows] == newest[:2]
    assert [row.title for row in papers.list(ListQuery(limit=2, page=3)).rows] == newest[4:]
    assert [row.title for row in papers.stream()] == newest
    assert max(len(batch) for batch in papers.batches()) <= 3
    large = papers.create({"title": "6", "body": "a" * 20_000})
    alone = papers.list()
    assert [row.id for row in alone.rows] == [large.id]  # at least one, as `get` returns it
    assert len(papers.list(ListQuery(cursor=alone.next)).rows) == 3
    assert [row.title for row in papers.stream()] == ["6", *newest]
    assert papers.get(large.id).body == "a" * 20_000
    nothing = ListQuery((Filter(papers.resource.columns[2], "eq", "no"),))
    assert papers.list(nothing).rows == [] == list(papers.stream(nothing))


def test_a_json_value_counts_as_it_is_spelled_out(papers: Papers) -> None:
    papers.limits = Limits(json=10_000, response=20_000)
    for number in (1.5e300, 10**300, 5e-324, -1.5e300):
        for value in ({"x": [number] * 40}, [[number]] * 40, {str(n): number for n in range(40)}):
            with pytest.raises(Invalid) as caught:
                papers.create({"data": value})
            assert [(e.pointer, e.code) for e in caught.value.errors] == [("/data", "too_long")]
        papers.create({"data": [number] * 30})
    assert len(papers.list().rows) < 4
    assert len(papers.list(ListQuery(limit=1)).rows) == 1
    papers.create({"data": ["1e300"] * 1_000})  # no numbers


def test_a_number_comes_back_as_short_as_it_was_sent(papers: Papers) -> None:
    sent = [1e300, -2.5e21, 1e21, 5e-324, 123456789012345678901234, 10**20, 1e17, 0.1, 2**63]
    row = papers.create({"data": {"x": sent}})
    shown = to_json(row.data)
    assert shown == b'{"x":[1e+300,-2.5e+21,1e+21,5e-324,123456789012345678901234,' + (
        b"100000000000000000000,100000000000000000,0.1,9223372036854775808]}"
    )
    again = papers.update(row.id, {"data": json.loads(shown)})
    assert (again.data, again.version) == (row.data, 1)  # nothing has changed
