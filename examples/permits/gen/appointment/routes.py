"""The JSON API of Appointment, generated from resources/appointment/schema.py. Do not edit."""

from forge_min.api import ResourceAPI
from forge_min.wsgi import Route

from .actions import AppointmentActions


def routes(actions: AppointmentActions, prefix: str) -> list[Route]:
    """Return the routes below `prefix`, for example "/api/v1"."""
    path = prefix + "/appointments"
    api = ResourceAPI(actions, path)
    return [
        Route("GET", path, api.list, "appointments.list"),
        Route("POST", path, api.create, "appointments.create"),
        Route("GET", path + "/{id}", api.get, "appointments.get"),
        Route("PATCH", path + "/{id}", api.update, "appointments.update"),
        Route("PUT", path + "/{id}", api.replace, "appointments.replace"),
        Route("DELETE", path + "/{id}", api.delete, "appointments.delete"),
    ]
