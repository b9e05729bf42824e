"""The actions of Applicant. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.applicant import ApplicantActions as Generated


class ApplicantActions(Generated):
    """The generated actions of applicants with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""


# forge: scaffold 6aa865ed63f45e3a
