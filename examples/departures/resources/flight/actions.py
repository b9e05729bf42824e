"""The actions of Flight, with this project's own rules and its verb: cancel."""

from uuid import UUID

from forge_min.actions import Check
from forge_min.errors import Conflict

from gen.flight import FlightActions as Generated
from gen.flight import FlightRow


class FlightActions(Generated):
    """list, get, create, update, delete and create_many of flights, and cancel."""

    def validate(self, check: Check) -> None:
        """A flight goes somewhere else, and arrives after it has left."""
        values = check.values
        origin, destination = values.get("origin_id"), values.get("destination_id")
        if origin is not None and origin == destination:
            check.error("destination_id", "same", "must not be the origin")
        departs, arrives = values.get("departs_at"), values.get("arrives_at")
        if departs is not None and arrives is not None and arrives <= departs:
            check.error("arrives_at", "too_early", "must be after departs_at")

    def cancel(self, id: UUID) -> FlightRow:
        """Cancel a flight that has not departed. Raises NotFound, Conflict, StaleVersion."""
        flight = self.get(id)
        if flight.status == "departed":
            raise Conflict(f"flight {flight.number} has departed")
        return self.update(id, {"status": "cancelled"}, version=flight.version)
