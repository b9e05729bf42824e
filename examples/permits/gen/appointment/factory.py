"""Rows of appointments for tests, generated from resources/appointment/schema.py. Do not edit."""

from typing import Any

from forge_min.testing import Factory

from .model import AppointmentRow


class AppointmentFactory(Factory[AppointmentRow]):
    """Makes rows of appointments: create(), create_many(n). build() returns only the data."""

    topic = "appointments"

    def defaults(self, n: int) -> dict[str, Any]:
        """Return a value for each required field. n: the number of the row."""
        return {
            "slot_id": self.related("slots"),
            "application_id": self.related("applications"),
        }
