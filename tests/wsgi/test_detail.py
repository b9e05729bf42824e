"""The page of one row: its history is for those who may read it, with the names of users."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from forge_min.actions import Limits
from forge_min.auth import SYSTEM, as_identity
from forge_min.testing import TestDatabase

from notes import Notebook, Visitor, notebook

pytestmark = pytest.mark.db


@pytest.fixture
def book(fresh_database: TestDatabase) -> Iterator[Notebook]:
    """An empty notebook."""
    with notebook(fresh_database) as made:
        yield made


def test_a_history_is_not_shown_to_anonymous_users_and_names_users_by_permission(
    book: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = book.owner.execute(
        "insert into forge_user (email, name) values ('anna@example.com', 'Anna') returning id"
    ).fetchone()
    note = book.note(title="one")
    anna = Visitor(book, str(row and row[0]))
    anna.edit(note)
    assert anna.send({"title": "two"}).status == 303
    page = anna.get(note)
    assert f"{row and row[0]} changed Title from one to two, just now" in page.text
    assert "system created this, just now" in page.text
    assert "Anna" not in page.text
    notes = book.actions["all"]["notes"]
    changed = notes.resource._replace(permissions={"audit": ("anybody",)})
    monkeypatch.setattr(notes, "resource", changed)
    assert "Anna changed Title" in anna.get(note).text
    monkeypatch.undo()
    page = Visitor(book, "").get(note)
    assert page.status == 200 and "two" in page.text
    assert "History" not in page.text and "Anna" not in page.text and "one" not in page.text


def test_a_history_that_is_too_large_is_shown_in_part(book: Notebook) -> None:
    note, ann = book.note(title="one", body="a" * 600), Visitor(book, "ann")
    for letter in "bcd":
        book.change(note, body=letter * 600)
    notes, key = book.actions["all"]["notes"], note.rpartition("/")[2]
    for most, expected in ((2_000, [1, 1, 2]), (3_000, [2, 2]), (100, [1, 1, 1, 1])):
        notes.limits = Limits(response=most)
        page = ann.get(note)
        assert page.status == 200 and page.text.count("system changed") == min(expected[0], 3)
        sizes, cursor = [], None
        with as_identity(SYSTEM):
            while cursor or not sizes:
                log = notes.audit_log(key, cursor=cursor)
                sizes.append(len(log.rows))
                cursor = log.next
        assert sizes == expected
