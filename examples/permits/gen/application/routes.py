"""The JSON API of Application, generated from resources/application/schema.py. Do not edit."""

from forge_min.api import ResourceAPI
from forge_min.wsgi import Route

from .actions import ApplicationActions


def routes(actions: ApplicationActions, prefix: str) -> list[Route]:
    """Return the routes below `prefix`, for example "/api/v1"."""
    path = prefix + "/applications"
    api = ResourceAPI(actions, path)
    return [
        Route("GET", path, api.list, "applications.list"),
        Route("POST", path, api.create, "applications.create"),
        Route("GET", path + "/{id}", api.get, "applications.get"),
        Route("PATCH", path + "/{id}", api.update, "applications.update"),
        Route("PUT", path + "/{id}", api.replace, "applications.replace"),
        Route("DELETE", path + "/{id}", api.delete, "applications.delete"),
        Route("GET", path + "/{id}/audit", api.audit, "applications.audit"),
        Route("POST", path + "/{id}/submit", api.transition("submit"), "applications.submit"),
        Route("POST", path + "/{id}/withdraw", api.transition("withdraw"), "applications.withdraw"),
        Route("POST", path + "/{id}/approve", api.transition("approve"), "applications.approve"),
        Route("POST", path + "/{id}/reject", api.transition("reject"), "applications.reject"),
        Route("POST", path + "/{id}/revoke", api.transition("revoke"), "applications.revoke"),
        Route("GET", path + "/-/aggregate", api.aggregate, "applications.aggregate"),
        Route("GET", path + "/-/reports/{name}", api.report, "applications.report"),
    ]
