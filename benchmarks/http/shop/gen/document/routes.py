"""The JSON API of Document, generated from resources/document/schema.py. Do not edit."""

from forge_min.api import ResourceAPI
from forge_min.wsgi import Route

from .actions import DocumentActions


def routes(actions: DocumentActions, prefix: str) -> list[Route]:
    """Return the routes below `prefix`, for example "/api/v1"."""
    path = prefix + "/documents"
    api = ResourceAPI(actions, path)
    return [
        Route("GET", path, api.list, "documents.list"),
        Route("POST", path, api.create, "documents.create"),
        Route("GET", path + "/{id}", api.get, "documents.get"),
        Route("PATCH", path + "/{id}", api.update, "documents.update"),
        Route("PUT", path + "/{id}", api.replace, "documents.replace"),
        Route("DELETE", path + "/{id}", api.delete, "documents.delete"),
    ]
