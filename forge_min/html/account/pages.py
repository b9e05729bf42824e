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
from ..fields import label_of
from ..history import own_sentences
from ..layout import Hyperlink, Layout, Render
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
_FORGOT, _RESET, _PASSWORD = f"{PREFIX}/forgot", f"{PREFIX}/reset", f"{PREFIX}/password"
_SESSIONS, _SETTINGS = f"{PREFIX}/sessions", f"{PREFIX}/settings"
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
    tenant: Callable[[wsgi.Request], str | None]
    tenant_root: Callable[[wsgi.Request, str], str] | None
    views: Mapping[str, Render]
    links: AccountLinks

    def routes(self) -> list[wsgi.Route]:
        """Return the routes of these pages."""
        routes = [
            wsgi.Route("GET", PREFIX, self.show),
            wsgi.Route("POST", _SESSIONS, self.end),
            wsgi.Route("POST", _SETTINGS, self.change_settings),
            wsgi.Route("GET", _TENANTS, self.tenants),
            wsgi.Route("GET", SIGN_IN, self.ask),
            wsgi.Route("POST", SIGN_IN, self.sign_in),
            wsgi.Route("POST", f"{PREFIX}/sign-out", self.sign_out),
            wsgi.Route("GET", _PASSWORD, self.ask_password),
            wsgi.Route("POST", _PASSWORD, self.change_password),
            wsgi.Route("GET", _RESET, self.ask_reset),
            wsgi.Route("POST", _RESET, self.reset),
        ]
        if self.links.is_configured:
            routes.append(wsgi.Route("GET", _FORGOT, self.ask_forgot))
            routes.append(wsgi.Route("POST", _FORGOT, self.forgot))
        return routes

    def identify(self, request: wsgi.Request) -> Identity | None:
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

    def head(self, request: wsgi.Request) -> wsgi.Raw:
        """Render the account part of the layout."""
        identity, root = current_identity(), request.root
        if identity.via != SESSION:
            link = wsgi.tag("a", WORDS.sign_in, href=f"{root}{SIGN_IN}")
            return wsgi.tag("p", link, class_="account")
        button = wsgi.tag("button", WORDS.sign_out, type="submit", class_="quiet")
        content = wsgi.join([wsgi.csrf_field(request), button])
        form = wsgi.tag("form", content, method="post", action=f"{root}{PREFIX}/sign-out")
        links = [wsgi.tag("a", identity.name, href=f"{root}{PREFIX}"), form]
        if self.tenant_root and (slug := self.tenant(request)):
            title, label = text("Change the tenant"), text("Tenant: {name}", name=slug)
            links.insert(0, wsgi.tag("a", label, href=f"{root}{_TENANTS}", title=title))
        if self.idle_timeout:
            links.append(wsgi.Raw(idle.render(words=WORDS, root=root, seconds=self.idle_timeout)))
        return wsgi.tag("div", wsgi.join(links), class_="account")

    # -- sign in and out ---------------------------------------------------------------------------

    def ask(self, request: wsgi.Request) -> wsgi.Response:
        """Show the sign-in form."""
        return self._sign_in(request, wsgi.first(request.query, "next"))

    def ask_to_sign_in(self, request: wsgi.Request) -> wsgi.Response:
        """Ask an anonymous user to sign in, for a page that needs it.

        The sign-in page keeps the entries of a form, which the user sends after signing in.
        """
        path, query = request.root + quote(request.path), request.environ.get("QUERY_STRING")
        url = f"{path}?{query}" if query else path
        kept = {} if request.path.startswith(f"{PREFIX}/") else wsgi.entries_of(request)
        if kept:
            return self._sign_in(request, url, kept=kept)
        if request.method not in ("GET", "HEAD"):
            url = f"{request.root}/"
        return wsgi.redirect(f"{request.root}{SIGN_IN}?next={quote(url, safe='')}")

    def sign_in(self, request: wsgi.Request) -> wsgi.Response:
        """Start a session, then redirect to the page that asked for it.

        The entries of a form that were kept are shown with a button that sends them.
        """
        pairs = wsgi.sent_form(request)
        kept = {n.removeprefix(_KEPT): v for n, v in pairs.items() if n.startswith(_KEPT)}
        email, url = wsgi.first(pairs, "email"), wsgi.first(pairs, "next")
        conn, password = self.database.connection(), wsgi.first(pairs, "password")
        try:
            browser = _browser(request)._replace(before=self._cookie(request, wsgi.SESSION_COOKIE))
            device = self._device(request, email)
            secret = signing.sign_in(conn, email, password, self.lifetime, browser, device)
        except (Unauthenticated, TooManyAttempts) as err:
            log.warning("a sign-in from %s was refused: %s", wsgi.client_network(request), err)
            return self._sign_in(request, url, email, err, kept)
        if kept:
            return self._signed_in(request, self._resume(request, url, secret, kept), secret, email)
        chooses = self.tenant_root and not self.tenant(request) and url in ("", "/")
        page = f"{request.root}{_TENANTS}" if chooses else wsgi.local_path(url)
        response = wsgi.redirect(page or f"{request.root}/")
        return self._signed_in(request, response, secret, email)

    def _resume(
        self, request: wsgi.Request, url: str, secret: str, kept: Mapping[str, Sequence[str]]
    ) -> wsgi.Response:
        """Return the page that sends the entries of a form in the new session.

        url: to which they are sent.
        secret: of the session.
        """
        conn = self.database.connection()
        identity = credentials.identify_session(conn, secret, self.tenant(request), True)
        assert identity is not None
        with as_identity(identity):
            hidden = wsgi.join([wsgi.csrf_field(request), wsgi.hidden_inputs(kept)])
            action, title = wsgi.local_path(url), text("Your entries are kept")
            named = [(name, values) for name, values in kept.items() if not name.startswith("_")]
            shown = [Item(label=label_of(name), value=", ".join(v)) for name, v in named]
            context: dict[str, Any] = {"action": action, "hidden": hidden, "entries": shown}
            return self.layout.page(request, resume.render, title, **context)

    def start(self, home: wsgi.Handler, request: wsgi.Request) -> wsgi.Response:
        """Show the start page; without a tenant, lead members of tenants to theirs."""
        identity = current_identity()
        if self.tenant_root is None or identity.via != SESSION or identity.tenant is not None:
            return home(request)
        found = accounts.list_memberships(self.database.connection(), UUID(identity.user))
        return wsgi.redirect(f"{request.root}{_TENANTS}") if found else home(request)

    def tenants(self, request: wsgi.Request) -> wsgi.Response:
        """Show the tenants of the user; a single one is opened at once after signing in."""
        user, _ = self._user_and_session()
        found = accounts.list_memberships(self.database.connection(), user.id)
        if self.tenant_root is None or not found:
            return wsgi.redirect(f"{request.root}/")
        links = [
            Hyperlink(each.name or each.slug, self.tenant_root(request, each.slug) + "/")
            for each in found
        ]
        if len(links) == 1 and not self.tenant(request):
            return wsgi.redirect(links[0].href)
        title = text("Choose a tenant")
        return self.layout.page(request, index.render, title, project=title, items=links)

    def sign_out(self, request: wsgi.Request) -> wsgi.Response:
        """End this session."""
        wsgi.check_csrf(request)
        identity = current_identity()
        if identity.via == SESSION:
            session = credentials.session_id(identity)
            credentials.end_sessions(self.database.connection(), UUID(identity.user), session)
        response = wsgi.redirect(f"{request.root}/")
        self._set_cookie(response, wsgi.SESSION_COOKIE, "", 0)
        return response

    # -- the user's own account --------------------------------------------------------------------

    def show(self, request: wsgi.Request) -> wsgi.Response:
        """Show the user's name, email, roles, sessions and history."""
        user, current = self._user_and_session()
        context: dict[str, Any] = {"heading": user.name or user.email, "email": user.email}
        context["notice"] = ""  # copies of account.html in projects may show it
        context["roles"] = ", ".join(sorted(current_identity().roles)) or "–"
        context["password"] = request.root + _PASSWORD
        context["settings"] = request.root + _SETTINGS
        default = text("that of the project")
        context["zones"] = [
            Item(name=zone, label=zone or default, chosen=zone == user.time_zone)
            for zone in sorted({"", *available_timezones(), user.time_zone})
        ]
        context["languages"] = [
            Item(tag=tag, label=tag or text("that of the browser"), chosen=tag == user.language)
            for tag in _languages()
        ]
        context["sessions"] = [
            Item(
                id=session.id,
                agent=browser_name(session.agent),
                address=session.address,
                since=wsgi.time_tag(session.created_at),
                seen=wsgi.time_tag(session.seen_at),
                here=session.id == current,
            )
            for session in credentials.list_sessions(self.database.connection(), user.id)
        ]
        context["history"] = own_sentences(self.database.connection(), user.id)
        return self._page(request, "account", text("Account"), _SESSIONS, **context)

    def end(self, request: wsgi.Request) -> wsgi.Response:
        """End one other session, or all of them."""
        pairs, (user, current) = wsgi.sent_form(request), self._user_and_session()
        conn, session = self.database.connection(), wsgi.first(pairs, "session")
        if session == "others":
            credentials.end_sessions(conn, user.id, but=current)
        elif (id := accounts.as_id(session)) is not None:
            credentials.end_sessions(conn, user.id, id)
        return wsgi.flash(wsgi.redirect(f"{request.root}{PREFIX}"), text("Signed out there."))

    def change_settings(self, request: wsgi.Request) -> wsgi.Response:
        """Set the time zone and the language of the user."""
        pairs, (user, _) = wsgi.sent_form(request), self._user_and_session()
        zone, language = wsgi.first(pairs, "zone"), wsgi.first(pairs, "language")
        zones = {"", *available_timezones(), user.time_zone}
        if zone not in zones or language not in _languages():
            raise BadRequest(text("unknown time zone or language"))
        accounts.change_settings(self.database.connection(), user.id, zone, language)
        return wsgi.flash(wsgi.redirect(f"{request.root}{PREFIX}"), text("Saved."))

    def ask_password(self, request: wsgi.Request) -> wsgi.Response:
        """Show the form for a new password."""
        return self._password(request, self._user_and_session()[0])

    def change_password(self, request: wsgi.Request) -> wsgi.Response:
        """Set a new password, which ends all sessions; this browser gets a new one.

        All keys of the user are revoked if the form asks for it.
        """
        pairs, (user, _) = wsgi.sent_form(request), self._user_and_session()
        conn = self.database.connection()
        try:
            signing.change_password(
                conn, user, wsgi.first(pairs, "current"), _twice(pairs), self.min_length
            )
        except (Invalid, Unauthenticated, TooManyAttempts) as err:
            return self._password(request, user, err)
        if pairs.get("keys"):
            credentials.revoke_all_keys(conn, user.id)
        secret = credentials.start_session(conn, user.id, self.lifetime, _browser(request))
        response = wsgi.redirect(f"{request.root}{PREFIX}")
        return self._signed_in(request, response, secret, user.email)

    # -- password reset ----------------------------------------------------------------------------

    def ask_forgot(
        self, request: wsgi.Request, error: DomainError | None = None, notice: str = ""
    ) -> wsgi.Response:
        """Show the form that asks for a password-reset link."""
        context: dict[str, Any] = {"email": "", "password": False, "notice": notice, "kept": False}
        context["button"] = WORDS.send
        context["forgot"] = ""
        return self._page(request, "account_sign_in", WORDS.forgot, _FORGOT, error, **context)

    def forgot(self, request: wsgi.Request) -> wsgi.Response:
        """Have a password-reset link sent if the email has an account.

        The response is the same for every email, and takes the same time.
        """
        email = wsgi.first(wsgi.sent_form(request), "email")
        conn, device = self.database.connection(), self._device(request, email)
        try:
            wanted = signing.count_reset(conn, email, wsgi.client_network(request), device)
        except TooManyAttempts as err:
            return self.ask_forgot(request, err)
        if wanted:
            self.links.request(request.root, conn, email, False)
        notice = text("If this email has an account, a link is on its way.")
        return self.ask_forgot(request, notice=notice)

    def ask_reset(self, request: wsgi.Request) -> wsgi.Response:
        """Show the form of a reset link. The link stays valid: mail programs open links too."""
        key = wsgi.first(request.query, "key")
        user = signing.find_reset(self.database.connection(), key)
        return self._password(request, user, key=key)

    def reset(self, request: wsgi.Request) -> wsgi.Response:
        """Set the new password with the secret of a reset link, and revoke keys as above."""
        pairs, conn = wsgi.sent_form(request), self.database.connection()
        key = wsgi.first(pairs, "key")
        try:
            user = signing.use_reset(conn, key, _twice(pairs), self.min_length)
        except Invalid as err:
            return self._password(request, signing.find_reset(conn, key), err, key=key)
        if pairs.get("keys"):
            credentials.revoke_all_keys(conn, user.id)
        response = wsgi.redirect(f"{request.root}{SIGN_IN}")
        wsgi.flash(response, text("The password is changed. Sign in with it."))
        return self._remember(request, response, user.email)

    # -- helpers -----------------------------------------------------------------------------------

    def _cookie(self, request: wsgi.Request, name: str) -> str:
        return wsgi.cookies_of(request, secure=self.secure).get(name, "")

    def _set_cookie(self, response: wsgi.Response, name: str, value: str, lifetime: float) -> None:
        header = wsgi.cookie(name, value, secure=self.secure, lifetime=lifetime)
        response.headers.append(header)

    def _device(self, request: wsgi.Request, email: str) -> str:
        """Return the known device that sent the request, "" for an unknown one."""
        known = self._cookie(request, wsgi.DEVICE_COOKIE)
        return signing.find_device(self.database.connection(), self.secret, known, email)

    def _remember(
        self, request: wsgi.Request, response: wsgi.Response, email: str
    ) -> wsgi.Response:
        """Add the cookie that makes the browser a known device of the account."""
        known = self._cookie(request, wsgi.DEVICE_COOKIE)
        value = signing.remember_device(self.database.connection(), self.secret, known, email)
        self._set_cookie(response, wsgi.DEVICE_COOKIE, value, signing.DEVICE)
        return response

    def _user_and_session(self) -> tuple[accounts.User, UUID | None]:
        """Return the user and the id of the session. Raises Unauthenticated without a session."""
        identity = current_identity()
        if identity.via != SESSION:
            raise Unauthenticated(text("sign in first"))
        user = accounts.find_user(self.database.connection(), identity.user)
        return user, credentials.session_id(identity)

    def _signed_in(
        self, request: wsgi.Request, response: wsgi.Response, secret: str, email: str
    ) -> wsgi.Response:
        """Add the cookie of a new session to the response."""
        self._set_cookie(response, wsgi.SESSION_COOKIE, secret, self.lifetime)
        return self._remember(request, response, email)

    def _sign_in(
        self,
        request: wsgi.Request,
        url: str,
        email: str = "",
        error: DomainError | None = None,
        kept: Mapping[str, Sequence[str]] = {},
    ) -> wsgi.Response:
        """Return the sign-in page.

        url: of the page after it.
        kept: the entries of a form that are sent there.
        """
        if kept and not error:
            error = Unauthenticated(
                text("Your session has ended. Sign in again; your entries are kept.")
            )
        context: dict[str, Any] = {"email": email, "password": True, "kept": bool(kept)}
        context["notice"] = ""
        if wsgi.lacks_https(request, secure=self.secure):
            context["notice"] = wsgi.https_message()
        context["button"] = WORDS.sign_in
        context["forgot"] = f"{request.root}{_FORGOT}" if self.links.is_configured else ""
        hidden = {"next": [wsgi.local_path(url)]}
        hidden |= {_KEPT + name: [*values] for name, values in kept.items()}
        page = "account_sign_in"
        return self._page(request, page, WORDS.sign_in, SIGN_IN, error, hidden, **context)

    def _password(
        self,
        request: wsgi.Request,
        user: accounts.User,
        error: DomainError | None = None,
        key: str = "",
    ) -> wsgi.Response:
        rule = text("At least {min} characters.", min=self.min_length)
        context: dict[str, Any] = {"email": user.email, "current": not key, "rule": rule}
        context["keys"] = credentials.count_keys(self.database.connection(), user.id)
        path, hidden = _RESET if key else _PASSWORD, {"key": [key]}
        title = text("Choose a password") if key else WORDS.change
        response = self._page(request, "account_password", title, path, error, hidden, **context)
        if isinstance(error, Unauthenticated):  # the user is known, the password is wrong
            response.status = 403
        return response

    def _page(
        self,
        request: wsgi.Request,
        name: str,
        title: str,
        action: str,
        error: DomainError | None = None,
        hidden: Mapping[str, Sequence[str]] = {},
        **context: Any,
    ) -> wsgi.Response:
        """Return a page with forms.

        action: the path to which they are sent.
        hidden: their hidden inputs.
        """
        context |= {"action": request.root + action, "problem": _problem(error)}
        context["hidden"] = wsgi.join([wsgi.csrf_field(request), wsgi.hidden_inputs(hidden)])
        template = self.views.get(name, TEMPLATES[name])
        return self.layout.form_page(request, template, title, error, **context)


def _languages() -> Sequence[str]:
    """Return the languages from which a user may choose; "" is that of the browser."""
    return ("", "en", *LANGUAGES) if LANGUAGES else ("",)


def _problem(error: DomainError | None) -> str:
    if isinstance(error, Invalid) and error.errors:
        return f"{WORDS.password}: {error.errors[0].message}"
    return error.message if error else ""


def _twice(pairs: dict[str, list[str]]) -> str:
    """Return the new password. Raises Invalid F630 if the repeated one differs."""
    if wsgi.first(pairs, "password") != wsgi.first(pairs, "again"):
        raise Invalid([], text("the two passwords differ"), code="F630")
    return wsgi.first(pairs, "password")


def _browser(request: wsgi.Request) -> credentials.Browser:
    return credentials.Browser(wsgi.client_network(request), request.header("User-Agent") or "")


def browser_name(agent: str) -> str:
    """Return the names of the browser and the system in a User-Agent header."""
    browsers = ("Edg", "OPR", "Firefox", "Chrome", "Safari", "curl")
    systems = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")
    names = {"Edg": "Edge", "OPR": "Opera", "Mac OS X": "macOS"}
    words = (next((w for w in known if w in agent), "") for known in (browsers, systems))
    return ", ".join(names.get(word, word) for word in words if word) or agent[:40] or "–"
