"""The actions of Account. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.account import AccountActions as Generated


class AccountActions(Generated):
    """The generated actions of accounts with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""


# forge: scaffold 86cbf8baf2175b13
