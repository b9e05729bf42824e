"""The JSON API of Item, generated from resources/item/schema.py. Do not edit."""

from forge_min.wsgi.api import ResourceAPI
from forge_min.wsgi.router import Route

from .actions import ItemActions


def routes(actions: ItemActions, prefix: str) -> list[Route]:
    """The routes below `prefix`, for example "/api/v1"."""
    path = prefix + "/items"
    api = ResourceAPI(actions, path)
    return [
        Route("GET", path, api.list, "items.list"),
        Route("POST", path, api.create, "items.create"),
        Route("GET", path + "/{id}", api.get, "items.get"),
        Route("PATCH", path + "/{id}", api.update, "items.update"),
        Route("PUT", path + "/{id}", api.replace, "items.replace"),
        Route("DELETE", path + "/{id}", api.delete, "items.delete"),
    ]
