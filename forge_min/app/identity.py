"""Who asks an application: by API key, else as its app.py says; and in which tenant."""

from __future__ import annotations

from collections.abc import Callable

from ..auth import Identity, current_identity, keys
from ..config import Config
from ..db import Database
from ..wsgi import Request
from ..wsgi.middleware import bearer, no_tenant, tenant_by_header, tenant_by_subdomain
from .declaration import App


class Callers:
    """The ways to know who asks, in turn: those of app.py, then ours.

    tenant: tells which tenant a request asks for, its slug or id.
    """

    def __init__(self, app: App, database: Database, config: Config) -> None:
        self._app, self._database = app, database
        self.tenant = _tenant(config)
        self.methods = [*app.methods, self._by_key]

    def _by_key(self, request: Request) -> Identity | None:
        token = bearer(request)
        if token is None or not token.startswith(keys.KEY):
            return None
        return keys.identify(self._database.connection(), token, self.tenant(request))

    def renew(self, identity: Identity) -> Identity | None:
        """What somebody who asked a while ago is by now; None for nobody any more."""
        if identity.credential.startswith(keys.CREDENTIAL):
            now = keys.renewed(self._database.connection(), identity)
            if now is None:
                return None
            identity = now
        return self._app.renew(identity)


def _tenant(config: Config) -> Callable[[Request], str | None]:
    strategy = config.tenancy.strategy
    if strategy == "header":
        return tenant_by_header(config.tenancy.header)
    return tenant_by_subdomain if strategy == "subdomain" else no_tenant


def caller() -> tuple[str, str] | None:
    """Whose requests count together, for the limits: (kind, key)."""
    identity = current_identity()
    return (identity.via or "session", identity.user) if identity.user else None
