"""The JSON API of Flight, generated from resources/flight/schema.py. Do not edit."""

from forge_min.api import ResourceAPI
from forge_min.wsgi import Route

from .actions import FlightActions


def routes(actions: FlightActions, prefix: str) -> list[Route]:
    """Return the routes below `prefix`, for example "/api/v1"."""
    path = prefix + "/flights"
    api = ResourceAPI(actions, path)
    return [
        Route("GET", path, api.list, "flights.list"),
        Route("POST", path, api.create, "flights.create"),
        Route("GET", path + "/{id}", api.get, "flights.get"),
        Route("PATCH", path + "/{id}", api.update, "flights.update"),
        Route("PUT", path + "/{id}", api.replace, "flights.replace"),
        Route("DELETE", path + "/{id}", api.delete, "flights.delete"),
        Route("GET", path + "/{id}/audit", api.audit, "flights.audit"),
    ]
