"""The pages below /account: sign in and out, sessions, change and reset of the password.

A session is identified by the cookie of `auth.credentials`. Every form has a CSRF token. So has the
sign-in form: otherwise another site could sign a client in as a different user.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace as Item
from typing import Any
from urllib.parse import quote
from uuid import UUID
from zoneinfo import available_timezones

from ... import wsgi
from ...auth import (
    SESSION,
    Identity,
    accounts,
    as_identity,
    credentials,
    current_identity,
    signing,
)
from ...db import Database
from ...errors import (
    BadRequest,
    DomainError,
    Invalid,
    TooManyAttempts,
    Unauthenticated,
    Unavailable,
)
from ...i18n import LANGUAGES, text
from ...wsgi import Request, Response, Route, first, redirect, sent_form, tag
from ..fields import Texts, label_of
from ..history import own_sentences
from ..layout import Hyperlink, Layout, Render, hidden_fields
from ..templates import WORDS, account, idle, index, password, resume
from ..templates import sign_in as sign_in_page
from .links import PREFIX, AccountLinks

TEMPLATES: Mapping[str, Render] = {
    "account": account.render,
    "account_password": password.render,
    "account_sign_in": sign_in_page.render,
}
"""Templates that a project may replace with views/<name>.html."""
SIGN_IN = f"{PREFIX}/sign-in"
_FORGOT = f"{PREFIX}/forgot"
_RESET = f"{PREFIX}/reset"
_PASSWORD = f"{PREFIX}/password"
_SESSIONS = f"{PREFIX}/sessions"
_SETTINGS = f"{PREFIX}/settings"
_TENANTS = f"{PREFIX}/tenants"
_KEPT = "kept."  # before the names of entries of a form

log = logging.getLogger("forge_min.account")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPages:
    """Handlers of the account pages.

    `identify` is a method of the middleware Identify; `head` is the account part of the layout.

    lifetime: of a session, in seconds.
    idle_timeout: seconds without a request after which a session ends; 0: none.
    min_length: of a password, in characters.
    secure: whether cookies are sent over HTTPS only.
    secret: signs the cookies of known devices; the same in all processes.
    tenant: returns the tenant that a request names.
    tenant_root: returns the root of the pages of a tenant (request, slug); None if no URL names it.
    views: the project's own templates by name, which replace the built-in ones.
    links: sends links for new passwords.
    """

    layout: Layout
    database: Database
    lifetime: float
    idle_timeout: float
    min_length: int
    secure: bool
    secret: bytes
    tenant: Callable[[Request], str | None]
    tenant_root: Callable[[Request, str], str] | None
    views: Mapping[str, Render]
    links: AccountLinks

    def routes(self) -> list[Route]:
        """Return the routes of these pages."""
        routes = [
            Route("GET", PREFIX, self.show),
            Route("POST", _SESSIONS, self.end),
            Route("POST", _SETTINGS, self.change_settings),
            Route("GET", _TENANTS, self.tenants),
            Route("GET", SIGN_IN, self.ask),
            Route("POST", SIGN_IN, self.sign_in),
            Route("POST", f"{PREFIX}/sign-out", self.sign_out),
            Route("GET", _PASSWORD, self.ask_password),
            Route("POST", _PASSWORD, self.change_password),
            Route("GET", _RESET, self.ask_reset),
            Route("POST", _RESET, self.reset),
        ]
        if self.links.is_configured:
            routes.append(Route("GET", _FORGOT, self.ask_forgot))
            routes.append(Route("POST", _FORGOT, self.forgot))
        return routes

    def identify(self, request: Request) -> Identity | None:
        """Return the identity of the request's session; None without a valid session cookie.

        Raises Forbidden F605 for a tenant of which the user is not a member.
        """
        secret = self._cookie(request, wsgi.SESSION_COOKIE)
        if not secret:
            return None
        # Users that are not members of the tenant must be able to sign out, and to load our files.
        prefixes = (f"{PREFIX}/", "/static/", "/favicon.ico")
        public = request.path == PREFIX or request.path.startswith(prefixes)
        tenant = self.tenant(request)
        # Streams reconnect, and pages that are open reload regions, while their user is away.
        background = request.path == "/events" or request.header("Forge-Background") is not None
        use = credentials.SessionUse(self.lifetime, self.idle_timeout, background)
        try:
            conn = self.database.connection()
            return credentials.identify_session(conn, secret, tenant, public, use)
        except Unavailable:
            if request.path.startswith("/static/"):
                return None  # the error page needs its stylesheet
            raise

    def head(self, request: Request) -> wsgi.Raw:
        """Render the account part of the layout."""
        identity = current_identity()
        root = request.root
        if identity.via != SESSION:
            link = tag("a", WORDS.sign_in, href=root + SIGN_IN)
            return tag("p", link, class_="account")
        parts = []
        if self.tenant_root:
            slug = self.tenant(request)
            if slug:
                title = text("Change the tenant")
                label = text("Tenant: {name}", name=slug)
                parts.append(tag("a", label, href=root + _TENANTS, title=title))
        parts.append(tag("a", identity.name, href=root + PREFIX))
        button = tag("button", WORDS.sign_out, type="submit", class_="quiet")
        content = wsgi.join([wsgi.csrf_field(request), button])
        action = f"{root}{PREFIX}/sign-out"
        parts.append(tag("form", content, method="post", action=action))
        if self.idle_timeout:
            script = idle.render(words=WORDS, root=root, seconds=self.idle_timeout)
            parts.append(wsgi.Raw(script))
        return tag("div", wsgi.join(parts), class_="account")

    # -- sign in and out ---------------------------------------------------------------------------

    def ask(self, request: Request) -> Response:
        """Show the sign-in form."""
        return self._sign_in(request, first(request.query, "next"))

    def ask_to_sign_in(self, request: Request) -> Response:
        """Ask an anonymous user to sign in, for a page that needs it.

        The sign-in page keeps the entries of a form, which the user sends after signing in.
        """
        url = request.root + quote(request.path)
        query = request.environ.get("QUERY_STRING")
        if query:
            url += f"?{query}"
        if not request.path.startswith(f"{PREFIX}/"):
            entries = wsgi.entries_of(request)
            if entries:
                return self._sign_in(request, url, kept=entries)
        if request.method not in ("GET", "HEAD"):
            url = f"{request.root}/"
        return redirect(f"{request.root}{SIGN_IN}?next={quote(url, safe='')}")

    def sign_in(self, request: Request) -> Response:
        """Start a session, then redirect to the page that asked for it.

        The entries of a form that were kept are shown with a button that sends them.
        """
        pairs = sent_form(request)
        kept = {}
        for name, values in pairs.items():
            if name.startswith(_KEPT):
                kept[name.removeprefix(_KEPT)] = values
        email = first(pairs, "email")
        password = first(pairs, "password")
        url = first(pairs, "next")
        conn = self.database.connection()
        try:
            previous = self._cookie(request, wsgi.SESSION_COOKIE)
            browser = _browser(request)._replace(before=previous)
            device = self._device(request, email)
            secret = signing.sign_in(conn, email, password, self.lifetime, browser, device)
        except (Unauthenticated, TooManyAttempts) as err:
            log.warning("a sign-in from %s was refused: %s", wsgi.client_network(request), err)
            return self._sign_in(request, url, email, err, kept)
        if kept:
            response = self._resume(request, url, secret, kept)
        elif self.tenant_root and not self.tenant(request) and url in ("", "/"):
            response = redirect(request.root + _TENANTS)
        else:
            response = redirect(wsgi.local_path(url) or f"{request.root}/")
        return self._signed_in(request, response, secret, email)

    def _resume(self, request: Request, url: str, secret: str, kept: Texts) -> Response:
        """Return the page that sends the entries of a form in the new session.

        url: to which they are sent.
        secret: of the session.
        """
        conn = self.database.connection()
        identity = credentials.identify_session(conn, secret, self.tenant(request), True)
        assert identity is not None
        with as_identity(identity):
            hidden = hidden_fields(request, kept)
            entries = []
            for name, values in kept.items():
                if not name.startswith("_"):
                    entries.append(Item(label=label_of(name), value=", ".join(values)))
            title = text("Your entries are kept")
            action = wsgi.local_path(url)
            return self.layout.page(
                request, resume.render, title, action=action, hidden=hidden, entries=entries
            )

    def start(self, home: wsgi.Handler, request: Request) -> Response:
        """Show the start page; without a tenant, lead members of tenants to theirs."""
        identity = current_identity()
        if self.tenant_root is None or identity.via != SESSION or identity.tenant is not None:
            return home(request)
        user = UUID(identity.user)
        if accounts.list_memberships(self.database.connection(), user):
            return redirect(request.root + _TENANTS)
        return home(request)

    def tenants(self, request: Request) -> Response:
        """Show the tenants of the user; a single one is opened at once after signing in."""
        user, _ = self._user_and_session()
        tenants = accounts.list_memberships(self.database.connection(), user.id)
        if self.tenant_root is None or not tenants:
            return redirect(f"{request.root}/")
        links = []
        for tenant in tenants:
            root = self.tenant_root(request, tenant.slug)
            links.append(Hyperlink(tenant.name or tenant.slug, f"{root}/"))
        if len(links) == 1 and not self.tenant(request):
            return redirect(links[0].href)
        title = text("Choose a tenant")
        return self.layout.page(request, index.render, title, project=title, items=links)

    def sign_out(self, request: Request) -> Response:
        """End this session."""
        wsgi.check_csrf(request)
        identity = current_identity()
        if identity.via == SESSION:
            session = credentials.session_id(identity)
            credentials.end_sessions(self.database.connection(), UUID(identity.user), session)
        response = redirect(f"{request.root}/")
        self._set_cookie(response, wsgi.SESSION_COOKIE, "", 0)
        return response

    # -- the user's own account --------------------------------------------------------------------

    def show(self, request: Request) -> Response:
        """Show the user's name, email, roles, sessions and history."""
        user, current = self._user_and_session()
        conn = self.database.connection()
        context: dict[str, Any] = {"heading": user.name or user.email, "email": user.email}
        context["notice"] = ""  # copies of account.html in projects may show it
        context["roles"] = ", ".join(sorted(current_identity().roles)) or "–"
        context["password"] = request.root + _PASSWORD
        context["settings"] = request.root + _SETTINGS
        default = text("that of the project")
        context["zones"] = [
            Item(name=zone, label=zone or default, chosen=zone == user.time_zone)
            for zone in sorted(_zones(user))
        ]
        default = text("that of the browser")
        context["languages"] = [
            Item(tag=language, label=language or default, chosen=language == user.language)
            for language in _languages()
        ]
        context["sessions"] = sessions = []
        for session in credentials.list_sessions(conn, user.id):
            item = Item(id=session.id, address=session.address, here=session.id == current)
            item.agent = browser_name(session.agent)
            item.since = wsgi.time_tag(session.created_at)
            item.seen = wsgi.time_tag(session.seen_at)
            sessions.append(item)
        context["history"] = own_sentences(conn, user.id)
        return self._page(request, "account", text("Account"), _SESSIONS, **context)

    def end(self, request: Request) -> Response:
        """End one other session, or all of them."""
        session = first(sent_form(request), "session")
        session_id = accounts.as_id(session)
        user, current = self._user_and_session()
        conn = self.database.connection()
        if session == "others":
            credentials.end_sessions(conn, user.id, but=current)
        elif session_id is not None:
            credentials.end_sessions(conn, user.id, session_id)
        return wsgi.flash(redirect(request.root + PREFIX), text("Signed out there."))

    def change_settings(self, request: Request) -> Response:
        """Set the time zone and the language of the user."""
        pairs = sent_form(request)
        user, _ = self._user_and_session()
        zone = first(pairs, "zone")
        language = first(pairs, "language")
        if zone not in _zones(user) or language not in _languages():
            raise BadRequest(text("unknown time zone or language"))
        accounts.change_settings(self.database.connection(), user.id, zone, language)
        return wsgi.flash(redirect(request.root + PREFIX), text("Saved."))

    def ask_password(self, request: Request) -> Response:
        """Show the form for a new password."""
        user, _ = self._user_and_session()
        return self._password(request, user)

    def change_password(self, request: Request) -> Response:
        """Set a new password, which ends all sessions; this browser gets a new one.

        All keys of the user are revoked if the form asks for it.
        """
        pairs = sent_form(request)
        user, _ = self._user_and_session()
        conn = self.database.connection()
        current = first(pairs, "current")
        try:
            signing.change_password(conn, user, current, _twice(pairs), self.min_length)
        except (Invalid, Unauthenticated, TooManyAttempts) as err:
            return self._password(request, user, err)
        if pairs.get("keys"):
            credentials.revoke_all_keys(conn, user.id)
        secret = credentials.start_session(conn, user.id, self.lifetime, _browser(request))
        response = redirect(request.root + PREFIX)
        return self._signed_in(request, response, secret, user.email)

    # -- password reset ----------------------------------------------------------------------------

    def ask_forgot(
        self, request: Request, error: DomainError | None = None, notice: str = ""
    ) -> Response:
        """Show the form that asks for a password-reset link."""
        return self._page(
            request,
            "account_sign_in",
            WORDS.forgot,
            _FORGOT,
            error,
            email="",
            password=False,
            notice=notice,
            kept=False,
            button=WORDS.send,
            forgot="",
        )

    def forgot(self, request: Request) -> Response:
        """Have a password-reset link sent if the email has an account.

        The response is the same for every email, and takes the same time.
        """
        email = first(sent_form(request), "email")
        conn = self.database.connection()
        device = self._device(request, email)
        network = wsgi.client_network(request)
        try:
            is_allowed = signing.count_reset(conn, email, network, device)
        except TooManyAttempts as err:
            return self.ask_forgot(request, err)
        if is_allowed:
            self.links.request(request.root, conn, email, False)
        notice = text("If this email has an account, a link is on its way.")
        return self.ask_forgot(request, notice=notice)

    def ask_reset(self, request: Request) -> Response:
        """Show the form of a reset link. The link stays valid: mail programs open links too."""
        key = first(request.query, "key")
        user = signing.find_reset(self.database.connection(), key)
        return self._password(request, user, key=key)

    def reset(self, request: Request) -> Response:
        """Set the new password with the secret of a reset link, and revoke keys as above."""
        pairs = sent_form(request)
        key = first(pairs, "key")
        conn = self.database.connection()
        try:
            user = signing.use_reset(conn, key, _twice(pairs), self.min_length)
        except Invalid as err:
            return self._password(request, signing.find_reset(conn, key), err, key=key)
        if pairs.get("keys"):
            credentials.revoke_all_keys(conn, user.id)
        response = redirect(f"{request.root}{SIGN_IN}")
        wsgi.flash(response, text("The password is changed. Sign in with it."))
        return self._remember(request, response, user.email)

    # -- helpers -----------------------------------------------------------------------------------

    def _cookie(self, request: Request, name: str) -> str:
        return wsgi.cookies_of(request, secure=self.secure).get(name, "")

    def _set_cookie(self, response: Response, name: str, value: str, lifetime: float) -> None:
        header = wsgi.cookie(name, value, secure=self.secure, lifetime=lifetime)
        response.headers.append(header)

    def _device(self, request: Request, email: str) -> str:
        """Return the known device that sent the request, "" for an unknown one."""
        conn = self.database.connection()
        device = self._cookie(request, wsgi.DEVICE_COOKIE)
        return signing.find_device(conn, self.secret, device, email)

    def _remember(self, request: Request, response: Response, email: str) -> Response:
        """Add the cookie that makes the browser a known device of the account."""
        conn = self.database.connection()
        device = self._cookie(request, wsgi.DEVICE_COOKIE)
        value = signing.remember_device(conn, self.secret, device, email)
        self._set_cookie(response, wsgi.DEVICE_COOKIE, value, signing.DEVICE)
        return response

    def _user_and_session(self) -> tuple[accounts.User, UUID | None]:
        """Return the user and the id of the session. Raises Unauthenticated without a session."""
        identity = current_identity()
        if identity.via != SESSION:
            raise Unauthenticated(text("sign in first"))
        user = accounts.find_user(self.database.connection(), identity.user)
        return user, credentials.session_id(identity)

    def _signed_in(self, request: Request, response: Response, secret: str, email: str) -> Response:
        """Add the cookie of a new session to the response."""
        self._set_cookie(response, wsgi.SESSION_COOKIE, secret, self.lifetime)
        return self._remember(request, response, email)

    def _sign_in(
        self,
        request: Request,
        url: str,
        email: str = "",
        error: DomainError | None = None,
        kept: Mapping[str, Sequence[str]] = {},
    ) -> Response:
        """Return the sign-in page.

        url: of the page after it.
        kept: the entries of a form that are sent there.
        """
        if kept and not error:
            message = text("Your session has ended. Sign in again; your entries are kept.")
            error = Unauthenticated(message)
        notice = ""
        if wsgi.lacks_https(request, secure=self.secure):
            notice = wsgi.https_message()
        forgot = ""
        if self.links.is_configured:
            forgot = request.root + _FORGOT
        hidden: dict[str, Sequence[str]] = {"next": [wsgi.local_path(url)]}
        for name, values in kept.items():
            hidden[_KEPT + name] = values
        return self._page(
            request,
            "account_sign_in",
            WORDS.sign_in,
            SIGN_IN,
            error,
            hidden,
            email=email,
            password=True,
            notice=notice,
            kept=bool(kept),
            button=WORDS.sign_in,
            forgot=forgot,
        )

    def _password(
        self,
        request: Request,
        user: accounts.User,
        error: DomainError | None = None,
        key: str = "",
    ) -> Response:
        title = WORDS.change
        path = _PASSWORD
        if key:
            title = text("Choose a password")
            path = _RESET
        response = self._page(
            request,
            "account_password",
            title,
            path,
            error,
            {"key": [key]},
            email=user.email,
            current=not key,
            rule=text("At least {min} characters.", min=self.min_length),
            keys=credentials.count_keys(self.database.connection(), user.id),
        )
        if isinstance(error, Unauthenticated):  # the user is known, the password is wrong
            response.status = 403
        return response

    def _page(
        self,
        request: Request,
        name: str,
        title: str,
        action: str,
        error: DomainError | None = None,
        hidden: Mapping[str, Sequence[str]] = {},
        **context: Any,
    ) -> Response:
        """Return a page with forms.

        action: the path to which they are sent.
        hidden: their hidden inputs.
        """
        context["action"] = request.root + action
        context["problem"] = _problem(error)
        context["hidden"] = hidden_fields(request, hidden)
        template = self.views.get(name, TEMPLATES[name])
        return self.layout.form_page(request, template, title, error, **context)


def _languages() -> Sequence[str]:
    """Return the languages from which a user may choose; "" is that of the browser."""
    if LANGUAGES:
        return ("", "en", *LANGUAGES)
    return ("",)


def _zones(user: accounts.User) -> set[str]:
    """Return the time zones from which a user may choose; "" is that of the project."""
    return {"", *available_timezones(), user.time_zone}


def _problem(error: DomainError | None) -> str:
    if isinstance(error, Invalid) and error.errors:
        return f"{WORDS.password}: {error.errors[0].message}"
    if error:
        return error.message
    return ""


def _twice(pairs: dict[str, list[str]]) -> str:
    """Return the new password. Raises Invalid F630 if the repeated one differs."""
    password = first(pairs, "password")
    if password != first(pairs, "again"):
        raise Invalid([], text("the two passwords differ"), code="F630")
    return password


def _browser(request: Request) -> credentials.Browser:
    return credentials.Browser(wsgi.client_network(request), request.header("User-Agent") or "")


def browser_name(agent: str) -> str:
    """Return the names of the browser and the system in a User-Agent header."""
    browsers = ("Edg", "OPR", "Firefox", "Chrome", "Safari", "curl")
    systems = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")
    names = {"Edg": "Edge", "OPR": "Opera", "Mac OS X": "macOS"}
    parts = []
    for words in (browsers, systems):
        for word in words:
            if word in agent:
                parts.append(names.get(word, word))
                break
    return ", ".join(parts) or agent[:40] or "–"
