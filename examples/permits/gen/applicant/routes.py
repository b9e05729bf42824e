"""The JSON API of Applicant, generated from resources/applicant/schema.py. Do not edit."""

from forge_min.api import ResourceAPI
from forge_min.wsgi import Route

from .actions import ApplicantActions


def routes(actions: ApplicantActions, prefix: str) -> list[Route]:
    """Return the routes below `prefix`, for example "/api/v1"."""
    path = prefix + "/applicants"
    api = ResourceAPI(actions, path)
    return [
        Route("GET", path, api.list, "applicants.list"),
        Route("POST", path, api.create, "applicants.create"),
        Route("GET", path + "/{id}", api.get, "applicants.get"),
        Route("PATCH", path + "/{id}", api.update, "applicants.update"),
        Route("PUT", path + "/{id}", api.replace, "applicants.replace"),
        Route("DELETE", path + "/{id}", api.delete, "applicants.delete"),
    ]
