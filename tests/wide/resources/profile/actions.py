"""The actions of Profile. This file is yours: it was written once and is never touched again.

Override what you need; every method is documented in forge_min.actions.Actions.
"""

from forge_min.actions import Check

from gen.profile import ProfileActions as Generated


class ProfileActions(Generated):
    """What the generated actions of profiles do, with this project's own rules."""

    def validate(self, check: Check) -> None:
        """Rules beyond the schema's: check.error("field", "code", "what is wrong")."""


# forge: scaffold c0ffe4ef1a9f72c8
