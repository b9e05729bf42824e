"""The actions of Profile. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.profile import ProfileActions as Generated


class ProfileActions(Generated):
    """The generated actions of profiles with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""


# forge: scaffold 902aa03f81117232
