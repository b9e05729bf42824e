"""The actions of appointments: a slot has a number of places."""

from collections.abc import Sequence

from forge_min import db
from forge_min.actions import RowChange

from gen.appointment import AppointmentActions as Generated
from gen.appointment import AppointmentRow


class AppointmentActions(Generated):
    """The generated actions of appointments with the capacity of slots."""

    def rule(self, changes: Sequence[RowChange[AppointmentRow]], conn: db.Connection) -> None:
        """A slot has no more appointments than places."""
        taken = {change.after.slot_id: change for change in changes if change.after}
        slots = conn.lock_rows("slots", taken)
        counts = dict(
            conn.execute(
                "select slot_id, count(*) from appointments where slot_id = any(%s) group by 1",
                [list(taken)],
            ).fetchall()
        )
        for slot in slots:
            if counts.get(slot["id"], 0) > slot["places"]:
                taken[slot["id"]].error("slot_id", "full", "this slot has no free place")
