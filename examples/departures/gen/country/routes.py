"""The JSON API of Country, generated from resources/country/schema.py. Do not edit."""

from forge_min.api import ResourceAPI
from forge_min.wsgi import Route

from .actions import CountryActions


def routes(actions: CountryActions, prefix: str) -> list[Route]:
    """Return the routes below `prefix`, for example "/api/v1"."""
    path = prefix + "/countries"
    api = ResourceAPI(actions, path)
    return [
        Route("GET", path, api.list, "countries.list"),
        Route("POST", path, api.create, "countries.create"),
        Route("GET", path + "/{id}", api.get, "countries.get"),
        Route("PATCH", path + "/{id}", api.update, "countries.update"),
        Route("PUT", path + "/{id}", api.replace, "countries.replace"),
        Route("DELETE", path + "/{id}", api.delete, "countries.delete"),
    ]
