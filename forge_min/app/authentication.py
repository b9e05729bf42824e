"""Who asks an application: by API key, else as its app.py says; and in which tenant."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .. import html
from ..actions import Registry
from ..auth import Identity, credentials, current_identity
from ..config import Config
from ..html import Frame, Links, Render
from ..wsgi import (
    Request,
    bearer,
    no_tenant,
    tenant_by_header,
    tenant_by_path,
    tenant_by_subdomain,
)
from .declaration import App

Views = Mapping[str, Render]


class Authentication:
    """The ways to know who asks, in turn: those of app.py, then API keys, then sessions.

    varies: the headers that name a tenant. account: the pages to sign in at, None where app.py has
    no sign_in(). links: what sends those for a new password, to be stopped by whoever has this.
    views: the project's own templates.
    """

    account: html.AccountPages | None = None
    links: Links | None = None

    def __init__(
        self, app: App, registry: Registry, config: Config, frame: Frame, views: Views
    ) -> None:
        self._app, self._database = app, registry.database
        self._tenant = tenant_of(config)
        named = config.tenancy.strategy == "header"
        self.varies = [config.tenancy.header] if named else []
        self.methods = [*app.methods, self._by_key]
        if app.signs_in and app.reset_sender is not None:
            self.links = Links(registry.database, registry.fill(app.reset_sender, 2))
        if app.signs_in:
            self.account = html.AccountPages(
                frame,
                registry.database,
                lifetime=config.auth.session_lifetime,
                at_least=config.auth.password_min_length,
                secure=config.env == "production",
                secret=registry.secret,
                tenant=self._tenant,
                views=views,
                links=self.links,
            )
            frame.account = self.account.head
            self.methods.append(self.account.identify)

    def _by_key(self, request: Request) -> Identity | None:
        token = bearer(request)
        if token is None or not token.startswith(credentials.KEY):
            return None
        return credentials.identify_key(self._database.connection(), token, self._tenant(request))

    def renew(self, identity: Identity) -> Identity | None:
        """What somebody who asked a while ago is by now; None for nobody any more."""
        now: Identity | None = identity
        if identity.credential:
            now = credentials.renewed(self._database.connection(), identity)
        return None if now is None else self._app.renew(now)


def tenant_of(config: Config) -> Callable[[Request], str | None]:
    """What tells which tenant a request asks for, its slug or id."""
    strategy = config.tenancy.strategy
    if strategy == "header":
        return tenant_by_header(config.tenancy.header)
    if strategy == "subdomain":
        return tenant_by_subdomain(config.tenancy.domain)
    return tenant_by_path if strategy == "path" else no_tenant


def caller() -> tuple[str, str] | None:
    """Whose requests count together, for the limits: (kind, key)."""
    identity = current_identity()
    return (identity.via or "session", identity.user) if identity.user else None
