"""The JSON API of Product, generated from resources/product/schema.py. Do not edit."""

from forge_min.api import ResourceAPI
from forge_min.wsgi import Route

from .actions import ProductActions


def routes(actions: ProductActions, prefix: str) -> list[Route]:
    """Return the routes below `prefix`, for example "/api/v1"."""
    path = prefix + "/products"
    api = ResourceAPI(actions, path)
    return [
        Route("GET", path, api.list, "products.list"),
        Route("POST", path, api.create, "products.create"),
        Route("GET", path + "/{id}", api.get, "products.get"),
        Route("PATCH", path + "/{id}", api.update, "products.update"),
        Route("PUT", path + "/{id}", api.replace, "products.replace"),
        Route("DELETE", path + "/{id}", api.delete, "products.delete"),
    ]
