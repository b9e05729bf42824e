"""The actions of Account. This file is yours: it was written once and is never touched again.

Override what you need; every method is documented in forge_min.actions.Actions.
"""

from forge_min.actions import Check

from gen.account import AccountActions as Generated


class AccountActions(Generated):
    """What the generated actions of accounts do, with this project's own rules."""

    def validate(self, check: Check) -> None:
        """Rules beyond the schema's: check.error("field", "code", "what is wrong")."""


# forge: scaffold 3949bbce33a60a29
