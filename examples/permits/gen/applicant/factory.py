"""Rows of applicants for tests, generated from resources/applicant/schema.py. Do not edit."""

from typing import Any

from forge_min.testing import Factory

from .model import ApplicantRow


class ApplicantFactory(Factory[ApplicantRow]):
    """Makes rows of applicants: create(), create_many(n). build() returns only the data."""

    topic = "applicants"

    def defaults(self, n: int) -> dict[str, Any]:
        """Return a value for each required field. n: the number of the row."""
        return {
            "name": f"name {n}",
            "email": f"email{n}@example.com",
        }
