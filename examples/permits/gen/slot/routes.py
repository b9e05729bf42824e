"""The JSON API of Slot, generated from resources/slot/schema.py. Do not edit."""

from forge_min.api import ResourceAPI
from forge_min.wsgi import Route

from .actions import SlotActions


def routes(actions: SlotActions, prefix: str) -> list[Route]:
    """Return the routes below `prefix`, for example "/api/v1"."""
    path = prefix + "/slots"
    api = ResourceAPI(actions, path)
    return [
        Route("GET", path, api.list, "slots.list"),
        Route("POST", path, api.create, "slots.create"),
        Route("GET", path + "/{id}", api.get, "slots.get"),
        Route("PATCH", path + "/{id}", api.update, "slots.update"),
        Route("PUT", path + "/{id}", api.replace, "slots.replace"),
        Route("DELETE", path + "/{id}", api.delete, "slots.delete"),
    ]
