"""The pages of administrators, below /-/: users, tenants and API keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace as Item
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID
from wsgiref.util import application_uri

from ... import wsgi
from ...auth import accounts, administration, credentials, current_identity
from ...errors import BadRequest, DomainError, NotFound
from ...i18n import format_number, text
from ..history import account_sentence
from ..layout import KEYS, PEOPLE, TENANTS, Hyperlink, Layout
from ..templates import invite, keys, people, person, secret, tenants
from .links import reset_path
from .pages import browser_name

Form = Mapping[str, Sequence[str]]
_EMPTY: Form = {}
Administrator = administration.Administrator
Person = administration.Person
Tenant = accounts.Tenant
_DAY = "%Y-%m-%d"


class Done(NamedTuple):
    """The result of an operation.

    notice: for the page of the user.
    link: the secret of a link, or
    key: a key, which is shown once.
    is_removed: whether the user may be invisible to the administrator.
    """

    notice: str
    link: str = ""
    key: str = ""
    is_removed: bool = False


class AdministrationPages:
    """Handlers of the pages of administrators.

    administrator: returns the current user as an administrator, on this thread's connection.
    roles: those that the project knows.
    tenant_root: returns the root of the pages of a tenant (request, slug); None if no URL names it.
    """

    def __init__(
        self,
        layout: Layout,
        administrator: Callable[[wsgi.Request], Administrator],
        roles: Sequence[str],
        tenant_root: Callable[[wsgi.Request, str], str] | None,
    ) -> None:
        self._layout, self._administrator = layout, administrator
        self._roles, self._tenant_root = roles, tenant_root

    def routes(self, *, tenants: bool) -> list[wsgi.Route]:
        """Return the routes of these pages. tenants: whether there is a page of tenants."""
        routes = [
            wsgi.Route("GET", PEOPLE, self.list_people),
            wsgi.Route("GET", f"{PEOPLE}/new", self.ask),
            wsgi.Route("POST", PEOPLE, self.invite),
            wsgi.Route("GET", f"{PEOPLE}/{{id}}", self.show),
            wsgi.Route("POST", f"{PEOPLE}/{{id}}/{{operation}}", self.change),
            wsgi.Route("GET", KEYS, self.list_keys),
            wsgi.Route("POST", KEYS, self.revoke_key),
        ]
        if tenants:
            routes.append(wsgi.Route("GET", TENANTS, self.list_tenants))
            routes.append(wsgi.Route("POST", TENANTS, self.create_tenant))
        return routes

    # -- users -------------------------------------------------------------------------------------

    def list_people(self, request: wsgi.Request) -> wsgi.Response:
        """Show a page of users, found by words and by tenant."""
        admin, url = self._administrator(request), request.root + PEOPLE
        words, slug = wsgi.first(request.query, "q"), wsgi.first(request.query, "tenant")
        tenants, limit = [tenant for tenant, _ in admin.tenants()], admin.limit()
        tenant = next((each for each in tenants if each.slug == slug), None)
        found = admin.people(words, tenant, wsgi.first(request.query, "after"))
        last = found[administration.PAGE - 1].user.email if len(found) > administration.PAGE else ""
        following = urlencode({"q": words, "tenant": slug, "after": last})
        context: dict[str, Any] = {
            "path": url,
            "new": f"{url}/new",
            "q": words,
            "tenants": [_option(each, slug) for each in tenants if limit is None],
            "rows": [
                Item(
                    href=f"{url}/{each.user.id}",
                    title=each.user.name or each.user.email,
                    email=each.user.email,
                    roles=", ".join(each.tenants[limit.slug] if limit else each.user.roles) or "–",
                    tenants=_memberships(each),
                    state=_state(each),
                )
                for each in found[: administration.PAGE]
            ],
            "next": f"{url}?{following}" if last else "",
        }
        return self._layout.page(request, people.render, text("People"), **context)

    def show(self, request: wsgi.Request, error: DomainError | None = None) -> wsgi.Response:
        """Show one user with roles, sessions, keys and history."""
        id, admin = _id(request), self._administrator(request)
        seen, tenants = admin.person(id), [tenant for tenant, _ in admin.tenants()]
        members = [tenant for tenant in tenants if tenant.slug in seen.tenants]
        places = [self._place(admin, seen, tenant) for tenant in members]
        if admin.limit() is None:
            places.insert(0, self._place(admin, seen, None))
        context: dict[str, Any] = {
            "url": f"{request.root}{PEOPLE}/{id}",
            "trail": [Hyperlink(text("People"), request.root + PEOPLE)],
            "person": seen,
            "state": _state(seen),
            "places": places,
            "others": [_option(tenant) for tenant in tenants if tenant not in members],
            "grantable": sorted(admin.grantable(None)),
            "key_roles": sorted(current_identity().roles),
            "sessions": [
                Item(session=s, browser=browser_name(s.agent), seen=wsgi.time_tag(s.seen_at))
                for s in admin.sessions(id)
            ],
            "keys": [_key_item(key, request.root) for key in admin.list_keys(id)],
            "history": [account_sentence(change) for change in admin.history(id)],
        }
        title = seen.user.name or seen.user.email
        return self._layout.form_page(request, person.render, title, error, **context)

    def change(self, request: wsgi.Request) -> wsgi.Response:
        """Perform the operation of a form."""
        id, form, operation = _id(request), wsgi.sent_form(request), request.params["operation"]
        try:
            done = _perform(self._administrator(request), operation, id, form)
        except DomainError as err:
            return self.show(request, err)
        return self._done(request, done, id)

    def ask(
        self, request: wsgi.Request, form: Form = _EMPTY, error: DomainError | None = None
    ) -> wsgi.Response:
        """Show the form of an invitation."""
        admin, slug = self._administrator(request), wsgi.first(form or request.query, "tenant")
        context: dict[str, Any] = {
            "action": request.root + PEOPLE,
            "trail": [Hyperlink(text("People"), request.root + PEOPLE)],
            "email": wsgi.first(form, "email"),
            "name": wsgi.first(form, "name"),
            "everywhere": admin.limit() is None,
            "tenants": [_option(tenant, slug) for tenant, _ in admin.tenants()],
            "roles": [
                Item(name=role, held=role in form.get("role", ()))
                for role in sorted(current_identity().roles)
            ],
        }
        return self._layout.form_page(
            request, invite.render, text("Invite a user"), error, **context
        )

    def invite(self, request: wsgi.Request) -> wsgi.Response:
        """Create an account or a membership."""
        form, admin = wsgi.sent_form(request), self._administrator(request)
        email, name = wsgi.first(form, "email").strip(), wsgi.first(form, "name").strip()
        try:
            tenant = _tenant(wsgi.first(form, "tenant"), admin)
            id, is_new, link = admin.invite(email, name, form.get("role", ()), tenant)
        except DomainError as err:
            return self.ask(request, form, err)
        notice = text("An invitation was sent to {email}.", email=email)
        if link:
            notice = text("Send this link to {email}. It sets the password, once.", email=email)
        elif not is_new:
            notice = text("{email} had an account already, and is a member now.", email=email)
        return self._done(request, Done(notice, link, is_removed=is_new), id)

    def _place(self, admin: Administrator, seen: Person, tenant: Tenant | None) -> Item:
        """Return the form of the roles in a tenant, or everywhere.

        Roles that the administrator does not hold are fixed.
        """
        held = seen.tenants[tenant.slug] if tenant else seen.user.roles
        own = admin.grantable(tenant)
        return Item(
            slug=tenant.slug if tenant else "",
            label=tenant.name or tenant.slug if tenant else text("In all tenants"),
            roles=[
                Item(name=role, held=role in held, fixed=role not in own)
                for role in sorted({*self._roles, *held})
            ],
        )

    def _done(self, request: wsgi.Request, done: Done, id: UUID) -> wsgi.Response:
        """Redirect to the user, or show a link or a key once."""
        url = f"{request.root}{PEOPLE}" + ("" if done.is_removed else f"/{id}")
        if not done.link and not done.key:
            return wsgi.flash(wsgi.redirect(url), done.notice)
        value = done.key or application_uri(request.environ).rstrip("/") + reset_path(done.link)
        context: dict[str, Any] = {"notice": done.notice, "value": value, "back": url}
        return self._layout.page(request, secret.render, text("Shown only once"), **context)

    # -- tenants -----------------------------------------------------------------------------------

    def list_tenants(
        self, request: wsgi.Request, form: Form = _EMPTY, error: DomainError | None = None
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

    def create_tenant(self, request: wsgi.Request) -> wsgi.Response:
        """Create a tenant."""
        form = wsgi.sent_form(request)
        slug, name = wsgi.first(form, "slug").strip(), wsgi.first(form, "name").strip()
        try:
            self._administrator(request).create_tenant(slug, name)
        except DomainError as err:
            return self.list_tenants(request, form, err)
        return wsgi.flash(wsgi.redirect(request.root + TENANTS), text("Created."))

    # -- keys --------------------------------------------------------------------------------------

    def list_keys(self, request: wsgi.Request) -> wsgi.Response:
        """Show a page of the keys that are not revoked."""
        after = accounts.as_id(wsgi.first(request.query, "after"))
        found = self._administrator(request).list_keys(after=after)
        last = found[administration.PAGE - 1].id if len(found) > administration.PAGE else ""
        context: dict[str, Any] = {
            "keys": [_key_item(key, request.root) for key in found[: administration.PAGE]],
            "next": f"{request.root}{KEYS}?after={last}" if last else "",
            "url": request.root + KEYS,
            "people": request.root + PEOPLE,
        }
        return self._layout.form_page(request, keys.render, text("API keys"), **context)

    def revoke_key(self, request: wsgi.Request) -> wsgi.Response:
        """Revoke a key."""
        self._administrator(request).revoke_keys(wsgi.first(wsgi.sent_form(request), "key"))
        return wsgi.flash(wsgi.redirect(request.root + KEYS), text("Revoked."))


# -- operations on one user ------------------------------------------------------------------------


def _perform(admin: Administrator, operation: str, id: UUID, form: Form) -> Done:
    """Perform an operation on a user. Raises NotFound for an unknown operation."""
    tenant = _tenant(wsgi.first(form, "tenant"), admin)
    match operation:
        case "roles":  # only boxes that the administrator has changed
            chosen, before = set(form.get("role", ())), set(form.get("before", ()))
            grant, revoke = sorted(chosen - before), sorted(before - chosen)
            admin.change_roles(id, tenant, grant=grant, revoke=revoke)
            return Done(text("Saved."))
        case "leave":
            if tenant:
                admin.remove_member(id, tenant)
            return Done(text("Removed from the tenant."), is_removed=True)
        case "disable":
            admin.set_disabled(id, True)
            return Done(text("Deactivated: all sessions have ended, and keys are rejected."))
        case "enable":
            admin.set_disabled(id, False)
            return Done(text("Activated."))
        case "link":
            if link := admin.create_reset(id):
                return Done(text("This link sets a new password, once, within an hour."), link)
            return Done(text("A link for a new password was sent to the user."))
        case "unlock":
            admin.unlock(id)
            return Done(text("Unlocked: failed sign-ins no longer count."))
        case "sessions":
            session = wsgi.first(form, "session")
            if session and accounts.as_id(session) is None:
                raise BadRequest(text("this session does not exist"))
            admin.end_sessions(id, accounts.as_id(session))
            return Done(text("Signed out there."))
        case "create-key":
            return _create_key(admin, id, tenant, form)
        case "revoke-key":
            admin.revoke_keys(wsgi.first(form, "key"))
            return Done(text("Revoked."))
    raise NotFound(text("nothing is at this address"))


def _create_key(admin: Administrator, id: UUID, tenant: Tenant | None, form: Form) -> Done:
    roles, days = form.get("role", ()), wsgi.first(form, "days")
    if days and not (days.isdecimal() and len(days) < 5 and 0 < int(days) <= 3650):
        raise BadRequest(text("the number of days must be from 1 to 3650"))
    lifetime, name = int(days) * 86_400.0 if days else None, wsgi.first(form, "name")
    key = admin.create_key(id, name, roles=roles, tenant=tenant, lifetime=lifetime)
    if not key:
        return Done(text("The key was sent to the user."))
    return Done(text("Send it as: Authorization: Bearer <key>"), key=key)


def _id(request: wsgi.Request) -> UUID:
    """Return the id in the path; one without a user if it is malformed."""
    return accounts.as_id(request.params["id"]) or UUID(int=0)


def _tenant(slug: str, admin: Administrator) -> Tenant | None:
    """Return the tenant of a form, None for all tenants. Raises NotFound F634."""
    if not slug:
        return None
    for tenant, _ in admin.tenants():
        if tenant.slug == slug:
            return tenant
    raise NotFound(text("this tenant does not exist"), code="F634")


def _option(tenant: Tenant, chosen: str = "") -> Item:
    """Return a choice of a tenant. chosen: the slug of the chosen one."""
    return Item(slug=tenant.slug, label=tenant.name or tenant.slug, chosen=tenant.slug == chosen)


def _state(seen: Person) -> str:
    return text("deactivated") if seen.user.disabled else text("active")


def _memberships(seen: Person) -> str:
    return "; ".join(f"{slug}: {', '.join(roles) or '–'}" for slug, roles in seen.tenants.items())


def _key_item(key: credentials.ApiKey, root: str) -> Item:
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
