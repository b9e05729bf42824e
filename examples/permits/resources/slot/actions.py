"""The actions of slots: their places are never fewer than their appointments."""

from collections.abc import Sequence

from forge_min import db
from forge_min.actions import RowChange

from gen.slot import SlotActions as Generated
from gen.slot import SlotRow


class SlotActions(Generated):
    """The generated actions of slots with the rule about places."""

    def rule(self, changes: Sequence[RowChange[SlotRow]], conn: db.Connection) -> None:
        """A slot has at least as many places as appointments."""
        for change in changes:
            if change.before and change.after and change.after.places < change.before.places:
                taken = conn.execute(
                    "select count(*) from appointments where slot_id = %s", [change.after.id]
                ).fetchone()
                if taken and change.after.places < taken[0]:
                    change.error("places", "taken", f"{taken[0]} places are taken already")
