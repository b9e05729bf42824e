"""The actions of Application. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.application import ApplicationActions as Generated


class ApplicationActions(Generated):
    """The generated actions of applications with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""


# forge: scaffold ef48aa8386e5e67c
