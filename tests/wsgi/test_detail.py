"""The page of one row: its history is for those who may read it, with the names of users."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
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
    assert f"changed {row and row[0]}" in page.text and "created system" in page.text
    assert "Anna" not in page.text
    notes = book.actions["all"]["notes"]
    changed = notes.resource._replace(permissions={"audit": ("anybody",)})
    monkeypatch.setattr(notes, "resource", changed)
    assert "changed Anna (anna@example.com)" in anna.get(note).text
    monkeypatch.undo()
    page = Visitor(book, "").get(note)
    assert page.status == 200 and "two" in page.text
    assert "History" not in page.text and "Anna" not in page.text and "one" not in page.text
