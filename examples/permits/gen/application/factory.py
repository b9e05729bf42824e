"""Rows of applications for tests, generated from resources/application/schema.py. Do not edit."""

from datetime import date, timedelta
from typing import Any

from forge_min.testing import Factory

from .model import ApplicationRow


class ApplicationFactory(Factory[ApplicationRow]):
    """Makes rows of applications: create(), create_many(n). build() returns only the data."""

    topic = "applications"

    def defaults(self, n: int) -> dict[str, Any]:
        """Return a value for each required field. n: the number of the row."""
        return {
            "number": f"{n:06}"[-12:],
            "applicant_id": self.related("applicants"),
            "kind": 'building',
            "subject": f"subject {n}",
            "begins_on": date(2030, 1, 1) + timedelta(days=n),
            "ends_on": date(2030, 1, 1) + timedelta(days=n),
        }
