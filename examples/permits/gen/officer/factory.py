"""Rows of officers for tests, generated from resources/officer/schema.py. Do not edit."""

from typing import Any

from forge_min.testing import Factory

from .model import OfficerRow


class OfficerFactory(Factory[OfficerRow]):
    """Makes rows of officers: create(), create_many(n). build() returns only the data."""

    topic = "officers"

    def defaults(self, n: int) -> dict[str, Any]:
        """Return a value for each required field. n: the number of the row."""
        return {
            "name": f"name {n}",
            "room": f"{n:06}"[-10:],
        }
