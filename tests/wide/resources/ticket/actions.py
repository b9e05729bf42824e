"""The actions of Ticket. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.ticket import TicketActions as Generated


class TicketActions(Generated):
    """The generated actions of tickets with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""


# forge: scaffold e98c221a4014d3af
