"""Rows of flights for tests, generated from resources/flight/schema.py. Do not edit."""

from datetime import UTC, datetime, timedelta
from typing import Any

from forge_min.testing import Factory

from .model import FlightRow


class FlightFactory(Factory[FlightRow]):
    """Makes rows of flights: create(), create_many(n). build() returns only the data."""

    topic = "flights"

    def defaults(self, n: int) -> dict[str, Any]:
        """Return a value for each required field. n: the number of the row."""
        return {
            "number": f"{n:06}"[-8:],
            "origin_id": self.related("airports"),
            "destination_id": self.related("airports"),
            "departs_at": datetime(2030, 1, 1, tzinfo=UTC) + timedelta(minutes=n),
            "arrives_at": datetime(2030, 1, 1, tzinfo=UTC) + timedelta(minutes=n),
        }
