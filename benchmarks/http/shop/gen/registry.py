"""The resources, workers and pages of this project, generated from resources/. Do not edit."""

from collections.abc import Callable

from forge_min.actions import Registry
from forge_min.wsgi import Route

from resources.document.actions import DocumentActions
from resources.product.actions import ProductActions
from resources.product.jobs import WORKERS as product_workers

from .document.routes import routes as document_routes
from .product.routes import routes as product_routes

# Pages of this project that replace pages of the library.
VIEWS: dict[str, Callable[..., str]] = {}


def register(registry: Registry, prefix: str) -> list[Route]:
    """Register the actions and workers of all resources, and return the routes of the JSON API."""
    routes: list[Route] = []
    routes += document_routes(registry.add(DocumentActions), prefix)
    routes += product_routes(registry.add(ProductActions), prefix)
    registry.add_workers(product_workers)
    return routes
