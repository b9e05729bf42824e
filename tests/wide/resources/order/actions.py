"""The actions of Order. This file is yours: it was written once and is never touched again.

Override what you need; every method is documented in forge_min.actions.Actions.
"""

from forge_min.actions import Check

from gen.order import OrderActions as Generated


class OrderActions(Generated):
    """What the generated actions of orders do, with this project's own rules."""

    def validate(self, check: Check) -> None:
        """Rules beyond the schema's: check.error("field", "code", "what is wrong")."""


# forge: scaffold 26e983490bcd519a
