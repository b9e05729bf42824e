"""The resources, workers and pages of this project, generated from resources/. Do not edit."""

from collections.abc import Callable

from forge_min.actions import Registry
from forge_min.wsgi import Route

from resources.note.actions import NoteActions

from .note.routes import routes as note_routes

# Pages of this project that replace pages of the library.
VIEWS: dict[str, Callable[..., str]] = {}


def register(registry: Registry, prefix: str) -> list[Route]:
    """Register the actions and workers of all resources, and return the routes of the JSON API."""
    routes: list[Route] = []
    routes += note_routes(registry.add(NoteActions), prefix)

    return routes
