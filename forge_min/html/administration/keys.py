"""The page of API keys, /-/keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace as Item
from typing import Any

from ... import wsgi
from ...auth import accounts, administration, credentials
from ...i18n import text
from ..layout import KEYS, PEOPLE, Layout
from ..templates import keys

_DAY = "%Y-%m-%d"

FindAdministrator = Callable[[wsgi.Request], administration.Administrator]
"""Returns the current user as an administrator, on this thread's connection."""


class KeyPages:
    """Handlers of the page of keys."""

    def __init__(self, layout: Layout, administrator: FindAdministrator) -> None:
        self._layout, self._administrator = layout, administrator

    def routes(self) -> list[wsgi.Route]:
        """Return the routes of this page."""
        return [wsgi.Route("GET", KEYS, self.list, ""), wsgi.Route("POST", KEYS, self.revoke, "")]

    def list(self, request: wsgi.Request) -> wsgi.Response:
        """Show a page of the keys that are not revoked."""
        after = accounts.as_id(wsgi.first(request.query, "after"))
        found = self._administrator(request).list_keys(after=after)
        last = found[administration.PAGE - 1].id if len(found) > administration.PAGE else ""
        context: dict[str, Any] = {
            "keys": [key_item(key, request.root) for key in found[: administration.PAGE]],
            "next": f"{request.root}{KEYS}?after={last}" if last else "",
            "url": request.root + KEYS,
            "people": request.root + PEOPLE,
        }
        return self._layout.form_page(request, keys.render, text("API keys"), **context)

    def revoke(self, request: wsgi.Request) -> wsgi.Response:
        """Revoke a key."""
        self._administrator(request).revoke_keys(wsgi.first(wsgi.sent_form(request), "key"))
        return wsgi.flash(wsgi.redirect(request.root + KEYS), text("Revoked."))


def key_item(key: credentials.ApiKey, root: str) -> Item:
    """Return a key for a template."""
    state = "" if key.revoked_at is None else text("revoked")
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        state = state or text("expired")
    return Item(
        key=key,
        href=f"{root}{PEOPLE}/{key.user}",
        roles=text("all") if key.roles is None else ", ".join(key.roles) or "–",
        tenant=key.tenant or "–",
        seen=wsgi.time_tag(key.seen_at, _DAY),
        expires=wsgi.time_tag(key.expires_at, _DAY),
        state=state,
    )
