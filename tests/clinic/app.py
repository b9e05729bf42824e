"""clinic: who is asking comes from two headers, because no test wants to log in."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from forge_min.actions import ANY_VERSION
from forge_min.app import App
from forge_min.auth import Identity
from forge_min.errors import Conflict
from forge_min.wsgi import Request

from gen.admission import AdmissionRow
from resources.admission.actions import AdmissionActions
from resources.patient.actions import PatientActions

app = App()
app.start_page(resources=["wards", "patients"])
app.navigation({"Care": ["patients", "/board"], "Setup": ["wards"]})


@app.authenticator
def by_test_headers(request: Request) -> Identity | None:
    """X-Test-User and X-Test-Roles (with commas); without the first, not known."""
    user, roles = request.header("X-Test-User"), request.header("X-Test-Roles") or ""
    return Identity(user, frozenset(roles.split(","))) if user else None


@app.page("/board", title="Board", nav=True, roles=["doctor"])
def board(request: Request) -> str:
    """A page with the layout."""
    return "<h1>The board</h1>"


@app.page("/bare")
def bare(request: Request) -> str:
    """A whole document."""
    return "<!doctype html><title>bare</title>"


@app.verb("admissions", "round")
def visit(id: UUID, request: Request, admissions: AdmissionActions) -> AdmissionRow:
    """Note that a doctor was there."""
    row = admissions.get(id)
    if row.status != "admitted":
        raise Conflict("not admitted")
    return row


@app.verb("admissions", "hidden", button=False)
def hidden(id: UUID, request: Request, admissions: AdmissionActions) -> AdmissionRow:
    """A verb without a button."""
    return admissions.get(id)


@app.form(
    "/wards/{ward}/admit",
    "admissions",
    ["patient_id", "due", "note"],
    title="Admit a patient",
    roles=["nurse"],
    initial=lambda request: {"note": "from the list"},
)
def admit(values: Mapping[str, Any], request: Request, admissions: AdmissionActions) -> str:
    """A form for some fields of a resource; the ward is in the URL."""
    row = admissions.create({**values, "ward_id": request.params["ward"]})
    if values["note"] == "full":
        raise Conflict("the ward is full")
    admissions.transition(row.id, "admit")
    return f"/admissions/{row.id}"


@app.form("/patients/{id}/rename", "patients", ["name", "diagnosis"], title="Rename")
def rename(values: Mapping[str, Any], request: Request, patients: PatientActions) -> str:
    """A form with a field that only doctors see."""
    patients.update(UUID(request.params["id"]), values, version=ANY_VERSION)
    return "//evil.example/"
