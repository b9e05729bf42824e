"""What this project has, generated from resources/. Do not edit."""

from collections.abc import Callable

from forge_min.actions import Registry
from forge_min.wsgi.router import Route

from resources.item.actions import ItemActions
from resources.item.jobs import WORKERS as item_workers

from .item.routes import routes as item_routes

# Pages of this project in place of the library's.
VIEWS: dict[str, Callable[..., str]] = {}


def register(registry: Registry, prefix: str) -> list[Route]:
    """Make every resource's actions, register every worker, and return the routes of the JSON API."""
    routes: list[Route] = []
    routes += item_routes(registry.add(ItemActions), prefix)
    registry.add_workers(item_workers)
    return routes
