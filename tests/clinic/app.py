"""clinic: who is asking comes from two headers, because no test wants to log in."""

from uuid import UUID

from forge_min.app import App
from forge_min.auth import Identity
from forge_min.errors import Conflict
from forge_min.wsgi import Request

from gen.admission import AdmissionRow
from resources.admission.actions import AdmissionActions

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
