"""The actions of Tag. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.tag import TagActions as Generated


class TagActions(Generated):
    """The generated actions of tags with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""


# forge: scaffold 3825c2a569a34456
