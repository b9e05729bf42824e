"""The page of tenants, /-/tenants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace as Item
from typing import Any

from ... import wsgi
from ...auth import administration
from ...errors import DomainError
from ...i18n import format_number, text
from ..history import account_sentence
from ..layout import PEOPLE, TENANTS, Layout
from ..templates import tenants
from .keys import FindAdministrator


class TenantPages:
    """Handlers of the page of tenants.

    tenant_root: returns the root of the pages of a tenant (request, slug); None if no URL names it.
    """

    def __init__(
        self,
        layout: Layout,
        administrator: FindAdministrator,
        tenant_root: Callable[[wsgi.Request, str], str] | None,
    ) -> None:
        self._layout, self._administrator = layout, administrator
        self._tenant_root = tenant_root

    def routes(self) -> list[wsgi.Route]:
        """Return the routes of this page."""
        return [
            wsgi.Route("GET", TENANTS, self.list, ""),
            wsgi.Route("POST", TENANTS, self.create, ""),
        ]

    def list(
        self,
        request: wsgi.Request,
        form: Mapping[str, Sequence[str]] = {},
        error: DomainError | None = None,
    ) -> wsgi.Response:
        """Show all tenants that the user may see, and the form of a new one."""
        admin, url = self._administrator(request), request.root + TENANTS
        may_create = admin.limit() is None
        changes = admin.history(topic=administration.TENANTS) if may_create else ()
        context: dict[str, Any] = {
            "url": url,
            "creates": may_create,
            "slug": wsgi.first(form, "slug"),
            "name": wsgi.first(form, "name"),
            "rows": [
                Item(
                    title=tenant.name or tenant.slug,
                    slug=tenant.slug,
                    members=format_number(members),
                    people=f"{request.root}{PEOPLE}?tenant={tenant.slug}",
                    href=self._tenant_root(request, tenant.slug) + "/" if self._tenant_root else "",
                )
                for tenant, members in admin.tenants()
            ],
            "history": [account_sentence(change) for change in changes],
        }
        return self._layout.form_page(request, tenants.render, text("Tenants"), error, **context)

    def create(self, request: wsgi.Request) -> wsgi.Response:
        """Create a tenant."""
        form = wsgi.sent_form(request)
        slug, name = wsgi.first(form, "slug").strip(), wsgi.first(form, "name").strip()
        try:
            self._administrator(request).create_tenant(slug, name)
        except DomainError as err:
            return self.list(request, form, err)
        return wsgi.flash(wsgi.redirect(request.root + TENANTS), text("Created."))
