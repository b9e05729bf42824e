"""wide: who is asking comes from three headers, because no test wants to log in."""

from uuid import UUID

from forge_min.app import App
from forge_min.auth import Identity, as_identity
from forge_min.wsgi import Handler, Request, Response

from gen.account import AccountRow
from resources.account.actions import AccountActions

app = App()


@app.middleware
def identify(request: Request, handler: Handler) -> Response:
    """X-Test-User, X-Test-Roles (with commas), X-Test-Tenant (a UUID); nobody without the first."""
    tenant = request.header("X-Test-Tenant")
    roles = request.header("X-Test-Roles") or ""
    identity = Identity(
        request.header("X-Test-User") or "",
        frozenset(role.strip() for role in roles.split(",") if role.strip()),
        UUID(tenant) if tenant else None,
    )
    with as_identity(identity):
        return handler(request)


@app.verb("accounts", "close")
def close(id: UUID, request: Request, accounts: AccountActions) -> AccountRow:
    """Back to the free plan, by who may close."""
    return accounts.update(id, {"plan": "free"})
