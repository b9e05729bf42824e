"""The JSON API of Officer, generated from resources/officer/schema.py. Do not edit."""

from forge_min.api import ResourceAPI
from forge_min.wsgi import Route

from .actions import OfficerActions


def routes(actions: OfficerActions, prefix: str) -> list[Route]:
    """Return the routes below `prefix`, for example "/api/v1"."""
    path = prefix + "/officers"
    api = ResourceAPI(actions, path)
    return [
        Route("GET", path, api.list, "officers.list"),
        Route("POST", path, api.create, "officers.create"),
        Route("GET", path + "/{id}", api.get, "officers.get"),
        Route("PATCH", path + "/{id}", api.update, "officers.update"),
        Route("PUT", path + "/{id}", api.replace, "officers.replace"),
        Route("DELETE", path + "/{id}", api.delete, "officers.delete"),
    ]
