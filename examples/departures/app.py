"""Departures: a live board over the airports of the world. What is not generated is here."""

from uuid import UUID

from forge_min.actions import ListQuery
from forge_min.app import App
from forge_min.wsgi import Raw, Request

from gen.airport import AirportRow
from gen.flight import FlightRow
from gen.pages import board, flight
from resources.airport.actions import AirportActions
from resources.flight.actions import FlightActions

app = App()

SHOWN = {"sort": ["departs_at"], "limit": ["50"], "status[ne]": ["departed"]}


@app.page("/")
def show_board(request: Request, flights: FlightActions, airports: AirportActions) -> str:
    """The departures board: the next fifty flights, live."""
    rows = flights.list(ListQuery.parse(flights.resource, SHOWN)).rows
    ids = {id for row in rows for id in (row.origin_id, row.destination_id)}
    places = {id: airports.get(id) for id in ids}
    shown = "".join(_render(row, places) for row in rows)
    return board.render(flights=Raw(shown))


@app.fragment("flights")
def show_flight(row: FlightRow, airports: AirportActions) -> str:
    """One line of the board, as every open board gets it when the flight changes."""
    places = {id: airports.get(id) for id in (row.origin_id, row.destination_id)}
    return _render(row, places)


@app.verb("flights", "cancel")
def cancel(id: UUID, request: Request, flights: FlightActions) -> FlightRow:
    """Cancel a flight that has not departed."""
    return flights.cancel(id)


def _render(row: FlightRow, places: dict[UUID, AirportRow]) -> str:
    origin, destination = places[row.origin_id], places[row.destination_id]
    return flight.render(
        flight=row,
        departs=row.departs_at.strftime("%H:%M"),
        origin=origin.iata or origin.icao,
        destination=destination.city or destination.name,
        gate=row.gate or "–",
    )
