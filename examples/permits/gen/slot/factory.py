"""Rows of slots for tests, generated from resources/slot/schema.py. Do not edit."""

from datetime import date, timedelta
from typing import Any

from forge_min.testing import Factory

from .model import SlotRow


class SlotFactory(Factory[SlotRow]):
    """Makes rows of slots: create(), create_many(n). build() returns only the data."""

    topic = "slots"

    def defaults(self, n: int) -> dict[str, Any]:
        """Return a value for each required field. n: the number of the row."""
        return {
            "officer_id": self.related("officers"),
            "day": date(2030, 1, 1) + timedelta(days=n),
            "begins_at": '07:00:00',
            "length": 'PT10M',
        }
