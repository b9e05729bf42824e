"""The resources, workers and pages of this project, generated from resources/. Do not edit."""

from collections.abc import Callable

from forge_min.actions import Registry
from forge_min.wsgi import Route

from resources.applicant.actions import ApplicantActions
from resources.application.actions import ApplicationActions
from resources.appointment.actions import AppointmentActions
from resources.officer.actions import OfficerActions
from resources.slot.actions import SlotActions

from .applicant.routes import routes as applicant_routes
from .application.routes import routes as application_routes
from .appointment.routes import routes as appointment_routes
from .officer.routes import routes as officer_routes
from .slot.routes import routes as slot_routes

# Pages of this project that replace pages of the library.
VIEWS: dict[str, Callable[..., str]] = {}


def register(registry: Registry, prefix: str) -> list[Route]:
    """Register the actions and workers of all resources, and return the routes of the JSON API."""
    routes: list[Route] = []
    routes += applicant_routes(registry.add(ApplicantActions), prefix)
    routes += application_routes(registry.add(ApplicationActions), prefix)
    routes += appointment_routes(registry.add(AppointmentActions), prefix)
    routes += officer_routes(registry.add(OfficerActions), prefix)
    routes += slot_routes(registry.add(SlotActions), prefix)

    return routes
