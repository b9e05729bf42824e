"""The jobs of Airport."""

from uuid import UUID

from forge_min.jobs import Job

from resources.airport.actions import AirportActions
from resources.airport.nearest import nearest


class FindNearest:
    """Enqueued by after_create of Airport: writes the nearest other airport and its distance."""

    kind = "FindNearest"

    def __init__(self, airports: AirportActions) -> None:
        self.airports = airports

    def work(self, job: Job) -> None:
        """Running it twice finds the same airport, and the second write changes nothing."""
        id = UUID(job.change.id)
        airport = self.airports.get(id, conn=job.conn)
        found = nearest(job.conn, id, float(airport.latitude), float(airport.longitude))
        if found is not None:
            self.airports.update(
                id, {"nearest_id": found[0], "nearest_km": f"{found[1]:.3f}"}, conn=job.conn
            )


# Every class that a hook names must stand here.
WORKERS = [FindNearest]
