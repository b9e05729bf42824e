"""The JSON API of Airport, generated from resources/airport/schema.py. Do not edit."""

from forge_min.api import ResourceAPI
from forge_min.wsgi import Route

from .actions import AirportActions


def routes(actions: AirportActions, prefix: str) -> list[Route]:
    """Return the routes below `prefix`, for example "/api/v1"."""
    path = prefix + "/airports"
    api = ResourceAPI(actions, path)
    return [
        Route("GET", path, api.list, "airports.list"),
        Route("POST", path, api.create, "airports.create"),
        Route("GET", path + "/{id}", api.get, "airports.get"),
        Route("PATCH", path + "/{id}", api.update, "airports.update"),
        Route("PUT", path + "/{id}", api.replace, "airports.replace"),
        Route("DELETE", path + "/{id}", api.delete, "airports.delete"),
    ]
