"""The resources, workers and pages of this project, generated from resources/. Do not edit."""

from collections.abc import Callable

from forge_min.actions import Registry
from forge_min.wsgi import Route

from resources.airport.actions import AirportActions
from resources.airport.jobs import WORKERS as airport_workers
from resources.country.actions import CountryActions
from resources.flight.actions import FlightActions
from resources.flight.jobs import WORKERS as flight_workers

from .airport.routes import routes as airport_routes
from .country.routes import routes as country_routes
from .flight.routes import routes as flight_routes

# Pages of this project that replace pages of the library.
VIEWS: dict[str, Callable[..., str]] = {}


def register(registry: Registry, prefix: str) -> list[Route]:
    """Register the actions and workers of all resources, and return the routes of the JSON API."""
    routes: list[Route] = []
    routes += airport_routes(registry.add(AirportActions), prefix)
    routes += country_routes(registry.add(CountryActions), prefix)
    routes += flight_routes(registry.add(FlightActions), prefix)
    registry.add_workers(airport_workers)
    registry.add_workers(flight_workers)
    return routes
