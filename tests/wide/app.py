"""wide: who is asking comes from three headers, because no test wants to log in."""

import logging
from uuid import UUID

from forge_min.app import App
from forge_min.auth import Identity
from forge_min.auth.accounts import User
from forge_min.wsgi import Request

from gen.account import AccountRow
from resources.account.actions import AccountActions

app = App()
app.sign_in()
app.administration("admin")
app.manual("manager", "admin")


@app.password_reset_sender
def send(user: User, path: str) -> None:
    """To the log, where a test reads it."""
    logging.getLogger("wide").info("for %s: %s", user.email, path)


@app.authenticator
def by_test_headers(request: Request) -> Identity | None:
    """X-Test-User, X-Test-Roles (with commas), X-Test-Tenant (a UUID); without any, not known."""
    user, roles, tenant = (request.header(f"X-Test-{name}") for name in ("User", "Roles", "Tenant"))
    if user is None and roles is None and tenant is None:
        return None
    return Identity(
        user or "",
        frozenset(role.strip() for role in (roles or "").split(",") if role.strip()),
        UUID(tenant) if tenant else None,
    )


@app.verb("accounts", "close")
def close(id: UUID, request: Request, accounts: AccountActions) -> AccountRow:
    """Back to the free plan, by who may close."""
    return accounts.update(id, {"plan": "free"})
