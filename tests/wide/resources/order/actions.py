"""The actions of Order. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.order import OrderActions as Generated


class OrderActions(Generated):
    """The generated actions of orders with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""


# forge: scaffold 3fa826142a64bb3a
