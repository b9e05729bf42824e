"""The actions of Class. This file is yours: it was written once and is never touched again.

Override what you need; every method is documented in forge_min.actions.Actions.
"""

from forge_min.actions import Check

from gen.class_ import ClassActions as Generated


class ClassActions(Generated):
    """What the generated actions of classes do, with this project's own rules."""

    def validate(self, check: Check) -> None:
        """Rules beyond the schema's: check.error("field", "code", "what is wrong")."""


# forge: scaffold 1e0e0e13f1feff43
