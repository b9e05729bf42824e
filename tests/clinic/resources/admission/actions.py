"""The actions of Admission. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.admission import AdmissionActions as Generated


class AdmissionActions(Generated):
    """The generated actions of admissions with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""
