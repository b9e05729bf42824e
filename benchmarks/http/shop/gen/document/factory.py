"""Rows of documents for tests, generated from resources/document/schema.py. Do not edit."""

from typing import Any

from forge_min.testing import Factory

from .model import DocumentRow


class DocumentFactory(Factory[DocumentRow]):
    """Makes rows of documents: create(), create_many(n). build() returns only the data."""

    topic = "documents"

    def defaults(self, n: int) -> dict[str, Any]:
        """Return a value for each required field. n: the number of the row."""
        return {}
