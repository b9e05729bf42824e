"""The actions of Officer. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.officer import OfficerActions as Generated


class OfficerActions(Generated):
    """The generated actions of officers with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""


# forge: scaffold ebba660bbdb190f3
