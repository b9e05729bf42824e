"""The actions of Item. This file is yours: it was written once and is never touched again.

Override what you need; every method is documented in forge_min.actions.Actions.
"""

from forge_min.actions import Check

from gen.item import ItemActions as Generated


class ItemActions(Generated):
    """What the generated actions of items do, with this project's own rules."""

    def validate(self, check: Check) -> None:
        """Rules beyond the schema's: check.error("field", "code", "what is wrong")."""


# forge: scaffold f809d6e9f47f79f6
