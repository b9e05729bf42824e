"""The actions of Thingxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx. This file is yours: it was written once and is never touched again.

Override what you need; every method is documented in forge_min.actions.Actions.
"""

from forge_min.actions import Check

from gen.thingxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx import (
    ThingxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxActions as Generated,
)


class ThingxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxActions(Generated):
    """What the generated actions of things_yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy do, with this project's own rules."""

    def validate(self, check: Check) -> None:
        """Rules beyond the schema's: check.error("field", "code", "what is wrong")."""


# forge: scaffold 42a398a36b919bf7
