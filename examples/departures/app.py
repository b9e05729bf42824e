"""Departures: a live board over the airports of the world. The parts that are not generated."""

from collections.abc import Sequence
from uuid import UUID

from forge_min.app import App
from forge_min.wsgi import Raw, Request

from gen.airport import AirportRow
from gen.flight import FlightRow
from gen.pages import board, flight
from resources.flight.actions import FlightActions

app = App()


@app.page("/")
def show_board(request: Request, flights: FlightActions) -> str:
    """The departures board: the next fifty flights, live."""
    query = flights.query({"status[ne]": "departed"}, sort="departs_at", limit=50)
    return board.render(flights=Raw(_lines(flights, flights.list(query).rows)))


@app.fragment("flights")
def show_flight(row: FlightRow, flights: FlightActions) -> str:
    """One line of the board, as every open board gets it when the flight changes."""
    return _lines(flights, [row])


@app.verb("flights", "cancel")
def cancel(id: UUID, request: Request, flights: FlightActions) -> FlightRow:
    """Cancel a flight that has not departed."""
    return flights.cancel(id)


def _lines(flights: FlightActions, rows: Sequence[FlightRow]) -> str:
    """One line for each; the airports of all of them are two queries."""
    ends = flights.related(rows, ["origin", "destination"])
    return "".join(_line(row, ends["origin"][row.id], ends["destination"][row.id]) for row in rows)


def _line(row: FlightRow, origin: AirportRow, destination: AirportRow) -> str:
    return flight.render(
        flight=row,
        departs=row.departs_at.strftime("%H:%M"),
        origin=origin.iata or origin.icao,
        destination=destination.city or destination.name,
        gate=row.gate or "–",
    )
