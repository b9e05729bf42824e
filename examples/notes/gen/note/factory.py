"""Rows of notes for tests, generated from resources/note/schema.py. Do not edit."""

from typing import Any

from forge_min.testing import Factory

from .model import NoteRow


class NoteFactory(Factory[NoteRow]):
    """Makes rows of notes: create(), create_many(n). build() returns only the data."""

    topic = "notes"

    def defaults(self, n: int) -> dict[str, Any]:
        """Return a value for each required field. n: the number of the row."""
        return {
            "title": f"title {n}",
        }
