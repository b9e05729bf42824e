"""The actions of Ticket. This file is yours: it was written once and is never touched again.

Override what you need; every method is documented in forge_min.actions.Actions.
"""

from forge_min.actions import Check

from gen.ticket import TicketActions as Generated


class TicketActions(Generated):
    """What the generated actions of tickets do, with this project's own rules."""

    def validate(self, check: Check) -> None:
        """Rules beyond the schema's: check.error("field", "code", "what is wrong")."""


# forge: scaffold c7b8ebe2033f75fc
