"""Rows of countries for tests, generated from resources/country/schema.py. Do not edit."""

from typing import Any

from forge_min.testing import Factory

from .model import CountryRow


class CountryFactory(Factory[CountryRow]):
    """Makes rows of countries: create(), create_many(n). build() returns only the data."""

    topic = "countries"

    def defaults(self, n: int) -> dict[str, Any]:
        """Return a value for each required field. n: the number of the row."""
        return {
            "code": f"{n:02}"[-2:],
            "name": f"name {n}",
        }
