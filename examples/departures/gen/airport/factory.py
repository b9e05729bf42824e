"""Rows of airports for tests, generated from resources/airport/schema.py. Do not edit."""

from decimal import Decimal
from typing import Any

from forge_min.testing import Factory

from .model import AirportRow


class AirportFactory(Factory[AirportRow]):
    """Makes rows of airports: create(), create_many(n). build() returns only the data."""

    topic = "airports"

    def defaults(self, n: int) -> dict[str, Any]:
        """Return a value for each required field. n: the number of the row."""
        return {
            "icao": f"{n:04}"[-4:],
            "name": f"name {n}",
            "country_id": self.related("countries"),
            "latitude": Decimal(-90 + n % 181),
            "longitude": Decimal(-180 + n % 361),
        }
