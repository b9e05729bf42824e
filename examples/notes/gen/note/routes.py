"""The JSON API of Note, generated from resources/note/schema.py. Do not edit."""

from forge_min.api import ResourceAPI
from forge_min.wsgi import Route

from .actions import NoteActions


def routes(actions: NoteActions, prefix: str) -> list[Route]:
    """Return the routes below `prefix`, for example "/api/v1"."""
    path = prefix + "/notes"
    api = ResourceAPI(actions, path)
    return [
        Route("GET", path, api.list, "notes.list"),
        Route("POST", path, api.create, "notes.create"),
        Route("GET", path + "/{id}", api.get, "notes.get"),
        Route("PATCH", path + "/{id}", api.update, "notes.update"),
        Route("PUT", path + "/{id}", api.replace, "notes.replace"),
        Route("DELETE", path + "/{id}", api.delete, "notes.delete"),
    ]
