"""Rows of items for tests, generated from resources/item/schema.py. Do not edit."""

from typing import Any

from forge_min.testing import Factory

from .model import ItemRow


class ItemFactory(Factory[ItemRow]):
    """Makes rows of items: create(), create_many(n), build()."""

    topic = "items"

    def defaults(self, n: int) -> dict[str, Any]:
        """A value for every field that a create must give. n counts the rows."""
        return {
            "title": f"title {n}",
        }
