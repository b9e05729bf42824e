"""The pages of administrators, below /-/: users, tenants and API keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace as Item
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID
from wsgiref.util import application_uri

from ...auth import accounts, administration, credentials, current_identity
from ...errors import BadRequest, DomainError, NotFound
from ...i18n import format_number, text
from ...wsgi import Request, Response, Route, first, flash, redirect, sent_form, time_tag
from ..fields import Texts
from ..history import account_sentence, account_state
from ..layout import KEYS, PEOPLE, TENANTS, Hyperlink, Layout
from ..templates import invite, keys, people, person, secret, tenants
from .links import reset_path
from .pages import browser_name

_EMPTY: Texts = {}
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
        administrator: Callable[[Request], Administrator],
        roles: Sequence[str],
        tenant_root: Callable[[Request, str], str] | None,
    ) -> None:
        self._layout = layout
        self._administrator = administrator
        self._roles = roles
        self._tenant_root = tenant_root

    def routes(self, *, tenants: bool) -> list[Route]:
        """Return the routes of these pages. tenants: whether there is a page of tenants."""
        routes = [
            Route("GET", PEOPLE, self.list_people),
            Route("GET", f"{PEOPLE}/new", self.ask),
            Route("POST", PEOPLE, self.invite),
            Route("GET", f"{PEOPLE}/{{id}}", self.show),
            Route("POST", f"{PEOPLE}/{{id}}/{{operation}}", self.change),
            Route("GET", KEYS, self.list_keys),
            Route("POST", KEYS, self.revoke_key),
        ]
        if tenants:
            routes.append(Route("GET", TENANTS, self.list_tenants))
            routes.append(Route("POST", TENANTS, self.create_tenant))
        return routes

    # -- users -------------------------------------------------------------------------------------

    def list_people(self, request: Request) -> Response:
        """Show a page of users, found by words and by tenant."""
        admin = self._administrator(request)
        limit = admin.limit()
        words = first(request.query, "q")
        slug = first(request.query, "tenant")
        tenants = [tenant for tenant, _ in admin.tenants()]
        tenant = next((tenant for tenant in tenants if tenant.slug == slug), None)
        profiles = admin.people(words, tenant, first(request.query, "after"))
        page = profiles[: administration.PAGE]
        url = request.root + PEOPLE
        next_url = ""
        if len(profiles) > len(page):
            query = urlencode({"q": words, "tenant": slug, "after": page[-1].user.email})
            next_url = f"{url}?{query}"
        options = []
        if limit is None:
            options = [_option(tenant, slug) for tenant in tenants]
        return self._layout.page(
            request,
            people.render,
            text("People"),
            path=url,
            new=f"{url}/new",
            q=words,
            tenants=options,
            rows=[_person_item(profile, url, limit) for profile in page],
            next=next_url,
        )

    def show(self, request: Request, error: DomainError | None = None) -> Response:
        """Show one user with roles, sessions, keys and history."""
        id = _id(request)
        admin = self._administrator(request)
        profile = admin.person(id)
        user = profile.user
        places = []
        others = []
        if admin.limit() is None:
            places.append(self._place(admin, profile, None))
        for tenant, _ in admin.tenants():
            if tenant.slug in profile.tenants:
                places.append(self._place(admin, profile, tenant))
            else:
                others.append(_option(tenant))
        sessions = []
        for session in admin.sessions(id):
            browser = browser_name(session.agent)
            seen = time_tag(session.seen_at)
            sessions.append(Item(session=session, browser=browser, seen=seen))
        link = Hyperlink(text("People"), request.root + PEOPLE)
        return self._layout.form_page(
            request,
            person.render,
            user.name or user.email,
            error,
            url=f"{link.href}/{id}",
            trail=[link],
            person=profile,
            state=account_state(user.disabled),
            places=places,
            others=others,
            grantable=sorted(admin.grantable(None)),
            key_roles=sorted(current_identity().roles),
            sessions=sessions,
            keys=[_key_item(key, request.root) for key in admin.list_keys(id)],
            history=[account_sentence(change) for change in admin.history(id)],
        )

    def change(self, request: Request) -> Response:
        """Perform the operation of a form."""
        id = _id(request)
        form = sent_form(request)
        operation = request.params["operation"]
        try:
            done = _perform(self._administrator(request), operation, id, form)
        except DomainError as err:
            return self.show(request, err)
        return self._done(request, done, id)

    def ask(
        self, request: Request, form: Texts = _EMPTY, error: DomainError | None = None
    ) -> Response:
        """Show the form of an invitation."""
        admin = self._administrator(request)
        slug = first(form or request.query, "tenant")
        chosen = form.get("role", ())
        roles = sorted(current_identity().roles)
        link = Hyperlink(text("People"), request.root + PEOPLE)
        return self._layout.form_page(
            request,
            invite.render,
            text("Invite a user"),
            error,
            action=link.href,
            trail=[link],
            email=first(form, "email"),
            name=first(form, "name"),
            everywhere=admin.limit() is None,
            tenants=[_option(tenant, slug) for tenant, _ in admin.tenants()],
            roles=[Item(name=role, held=role in chosen) for role in roles],
        )

    def invite(self, request: Request) -> Response:
        """Create an account or a membership."""
        form = sent_form(request)
        admin = self._administrator(request)
        email = first(form, "email").strip()
        name = first(form, "name").strip()
        try:
            tenant = _tenant(first(form, "tenant"), admin)
            id, is_new, link = admin.invite(email, name, form.get("role", ()), tenant)
        except DomainError as err:
            return self.ask(request, form, err)
        notice = text("An invitation was sent to {email}.", email=email)
        if link:
            notice = text("Send this link to {email}. It sets the password, once.", email=email)
        elif not is_new:
            notice = text("{email} had an account already, and is a member now.", email=email)
        return self._done(request, Done(notice, link, is_removed=is_new), id)

    def _place(self, admin: Administrator, profile: Person, tenant: Tenant | None) -> Item:
        """Return the form of the roles in a tenant, or everywhere.

        Roles that the administrator does not hold are fixed.
        """
        place = Item(slug="", label=text("In all tenants"))
        held = profile.user.roles
        if tenant:
            place = _option(tenant)
            held = profile.tenants[tenant.slug]
        grantable = admin.grantable(tenant)
        place.roles = [
            Item(name=role, held=role in held, fixed=role not in grantable)
            for role in sorted({*self._roles, *held})
        ]
        return place

    def _done(self, request: Request, done: Done, id: UUID) -> Response:
        """Redirect to the user, or show a link or a key once."""
        url = request.root + PEOPLE
        if not done.is_removed:
            url += f"/{id}"
        value = done.key
        if done.link:
            value = application_uri(request.environ).rstrip("/") + reset_path(done.link)
        if not value:
            return flash(redirect(url), done.notice)
        return self._layout.page(
            request,
            secret.render,
            text("Shown only once"),
            notice=done.notice,
            value=value,
            back=url,
        )

    # -- tenants -----------------------------------------------------------------------------------

    def list_tenants(
        self, request: Request, form: Texts = _EMPTY, error: DomainError | None = None
    ) -> Response:
        """Show all tenants that the user may see, and the form of a new one."""
        admin = self._administrator(request)
        rows = []
        for tenant, members in admin.tenants():
            slug = tenant.slug
            row = Item(title=tenant.name or slug, slug=slug, href="")
            row.members = format_number(members)
            row.people = f"{request.root}{PEOPLE}?tenant={slug}"
            if self._tenant_root:
                row.href = self._tenant_root(request, slug) + "/"
            rows.append(row)
        may_create = admin.limit() is None
        history = []
        if may_create:
            changes = admin.history(topic=administration.TENANTS)
            history = [account_sentence(change) for change in changes]
        return self._layout.form_page(
            request,
            tenants.render,
            text("Tenants"),
            error,
            url=request.root + TENANTS,
            creates=may_create,
            slug=first(form, "slug"),
            name=first(form, "name"),
            rows=rows,
            history=history,
        )

    def create_tenant(self, request: Request) -> Response:
        """Create a tenant."""
        form = sent_form(request)
        slug = first(form, "slug").strip()
        name = first(form, "name").strip()
        try:
            self._administrator(request).create_tenant(slug, name)
        except DomainError as err:
            return self.list_tenants(request, form, err)
        return flash(redirect(request.root + TENANTS), text("Created."))

    # -- keys --------------------------------------------------------------------------------------

    def list_keys(self, request: Request) -> Response:
        """Show a page of the keys that are not revoked."""
        after = accounts.as_id(first(request.query, "after"))
        api_keys = self._administrator(request).list_keys(after=after)
        page = api_keys[: administration.PAGE]
        url = request.root + KEYS
        next_url = ""
        if len(api_keys) > len(page):
            next_url = f"{url}?after={page[-1].id}"
        return self._layout.form_page(
            request,
            keys.render,
            text("API keys"),
            keys=[_key_item(key, request.root) for key in page],
            next=next_url,
            url=url,
            people=request.root + PEOPLE,
        )

    def revoke_key(self, request: Request) -> Response:
        """Revoke a key."""
        key = first(sent_form(request), "key")
        self._administrator(request).revoke_keys(key)
        return flash(redirect(request.root + KEYS), text("Revoked."))


# -- operations on one user ------------------------------------------------------------------------


def _perform(admin: Administrator, operation: str, id: UUID, form: Texts) -> Done:
    """Perform an operation on a user. Raises NotFound for an unknown operation."""
    tenant = _tenant(first(form, "tenant"), admin)
    match operation:
        case "roles":  # only boxes that the administrator has changed
            chosen = set(form.get("role", ()))
            before = set(form.get("before", ()))
            grant = sorted(chosen - before)
            revoke = sorted(before - chosen)
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
            link = admin.create_reset(id)
            if link:
                return Done(text("This link sets a new password, once, within an hour."), link)
            return Done(text("A link for a new password was sent to the user."))
        case "unlock":
            admin.unlock(id)
            return Done(text("Unlocked: failed sign-ins no longer count."))
        case "sessions":
            session = first(form, "session")
            session_id = accounts.as_id(session)
            if session and session_id is None:
                raise BadRequest(text("this session does not exist"))
            admin.end_sessions(id, session_id)
            return Done(text("Signed out there."))
        case "create-key":
            return _create_key(admin, id, tenant, form)
        case "revoke-key":
            admin.revoke_keys(first(form, "key"))
            return Done(text("Revoked."))
    raise NotFound(text("nothing is at this address"))


def _create_key(admin: Administrator, id: UUID, tenant: Tenant | None, form: Texts) -> Done:
    roles = form.get("role", ())
    name = first(form, "name")
    lifetime = None
    days = first(form, "days")
    if days:
        if not (days.isdecimal() and len(days) < 5 and 0 < int(days) <= 3650):
            raise BadRequest(text("the number of days must be from 1 to 3650"))
        lifetime = int(days) * 86_400.0
    key = admin.create_key(id, name, roles=roles, tenant=tenant, lifetime=lifetime)
    if not key:
        return Done(text("The key was sent to the user."))
    return Done(text("Send it as: Authorization: Bearer <key>"), key=key)


def _id(request: Request) -> UUID:
    """Return the id in the path; one without a user if it is malformed."""
    return accounts.as_id(request.params["id"]) or UUID(int=0)


def _tenant(slug: str, admin: Administrator) -> Tenant | None:
    """Return the tenant of a form, None for all tenants. Raises NotFound F633."""
    if not slug:
        return None
    for tenant, _ in admin.tenants():
        if tenant.slug == slug:
            return tenant
    raise NotFound(text("this tenant does not exist"), code="F633")


def _option(tenant: Tenant, chosen: str = "") -> Item:
    """Return a choice of a tenant. chosen: the slug of the chosen one."""
    return Item(slug=tenant.slug, label=tenant.name or tenant.slug, chosen=tenant.slug == chosen)


def _person_item(profile: Person, url: str, limit: Tenant | None) -> Item:
    """Return a user for the list. url: of the list."""
    user = profile.user
    item = Item(href=f"{url}/{user.id}", title=user.name or user.email, email=user.email)
    roles = user.roles
    if limit:
        roles = profile.tenants[limit.slug]
    item.roles = _roles_text(roles)
    tenants = profile.tenants.items()
    item.tenants = "; ".join(f"{slug}: {_roles_text(roles)}" for slug, roles in tenants)
    item.state = account_state(user.disabled)
    return item


def _roles_text(roles: Sequence[str]) -> str:
    return ", ".join(roles) or "–"


def _key_item(key: credentials.ApiKey, root: str) -> Item:
    """Return a key for a template."""
    item = Item(key=key, href=f"{root}{PEOPLE}/{key.user}", tenant=key.tenant or "–")
    item.roles = text("all")
    if key.roles is not None:
        item.roles = _roles_text(key.roles)
    item.seen = time_tag(key.seen_at, _DAY)
    item.expires = time_tag(key.expires_at, _DAY)
    item.state = ""
    if key.revoked_at is not None:
        item.state = text("revoked")
    elif key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        item.state = text("expired")
    return item
