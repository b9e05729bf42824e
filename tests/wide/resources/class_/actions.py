"""The actions of Class. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.class_ import ClassActions as Generated


class ClassActions(Generated):
    """The generated actions of classes with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""


# forge: scaffold 56d7a436777db5b5
