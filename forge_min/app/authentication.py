"""Authenticates the requests of an application, and finds their tenant."""

from __future__ import annotations

from collections.abc import Callable

from .. import html
from ..actions import Registry
from ..auth import Identity, credentials
from ..config import Config
from ..html import Layout
from ..wsgi import (
    Request,
    bearer,
    root_of_tenant,
    tenant_by_header,
    tenant_by_path,
    tenant_by_subdomain,
)
from .declaration import ProjectCode


class Authentication:
    """The authentication methods in their order: those of app.py, then API keys, then sessions.

    varies: the request headers that name a tenant.
    account: the account pages, None unless app.py calls sign_in().
    """

    account: html.AccountPages | None = None

    def __init__(self, code: ProjectCode, registry: Registry, layout: Layout) -> None:
        app = code.app
        config = code.config
        strategy = config.tenancy.strategy
        self._app = app
        self._database = registry.database
        self._tenant = tenant_reader(config)
        self.varies = []
        if strategy == "header":
            self.varies.append(config.tenancy.header)
        self.methods = [*app.methods, self._by_key]
        if app.signs_in:
            self.account = html.AccountPages(
                layout=layout,
                database=registry.database,
                lifetime=config.auth.session_lifetime,
                idle_timeout=config.auth.idle_timeout,
                min_length=config.auth.password_min_length,
                secure=config.env == "production",
                secret=registry.secret,
                tenant=self._tenant,
                tenant_root=root_of_tenant if strategy == "path" else None,
                views=code.views,
                links=registry.dependencies["forge_account_links"],
            )
            layout.account = self.account.head
            self.methods.append(self.account.identify)

    def _by_key(self, request: Request) -> Identity | None:
        token = bearer(request)
        if token is None or not token.startswith(credentials.KEY):
            return None
        conn = self._database.connection()
        return credentials.identify_key(conn, token, self._tenant(request))

    def renew(self, identity: Identity) -> Identity | None:
        """Return the current state of an identity; None if it is no longer authenticated."""
        current: Identity | None = identity
        if identity.credential:
            current = credentials.renewed(self._database.connection(), identity)
        if current is None:
            return None
        return self._app.renew(current)


def tenant_reader(config: Config) -> Callable[[Request], str | None]:
    """Return the function that reads the tenant, its slug or id, from a request."""
    strategy = config.tenancy.strategy
    if strategy == "header":
        return tenant_by_header(config.tenancy.header)
    if strategy == "subdomain":
        return tenant_by_subdomain(config.tenancy.domain)
    if strategy == "path":
        return tenant_by_path
    return lambda _: None
