"""The pages below /account: sign in and out, sessions, change and reset of the password.

A session is identified by the cookie of `auth.credentials`. Every form has a CSRF token. So has the
sign-in form: otherwise another site could sign a client in as a different user.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import SimpleNamespace as Item
from typing import Any
from uuid import UUID

from ...auth import SESSION, Identity, accounts, credentials, current_identity, signing
from ...db import Database
from ...errors import DomainError, Invalid, TooManyAttempts, Unauthenticated, Unavailable
from ...i18n import text
from ...wsgi import (
    DEVICE_COOKIE,
    SESSION_COOKIE,
    Raw,
    Request,
    Response,
    Route,
    check_csrf,
    client_network,
    cookie,
    cookies_of,
    csrf_field,
    first,
    https_message,
    join,
    lacks_https,
    local_path,
    redirect,
    sent_form,
    status_of,
    tag,
    time_tag,
    void,
)
from ..layout import Layout, Render
from ..templates import WORDS, account, password
from ..templates import sign_in as sign_in_page
from .password_reset import PREFIX, PasswordResetSender

TEMPLATES: Mapping[str, Render] = {
    "account": account.render,
    "account_password": password.render,
    "account_sign_in": sign_in_page.render,
}
"""Templates that a project may replace with views/<name>.html."""
SIGN_IN = f"{PREFIX}/sign-in"
_FORGOT, _RESET, _PASSWORD = f"{PREFIX}/forgot", f"{PREFIX}/reset", f"{PREFIX}/password"
_SESSIONS = f"{PREFIX}/sessions"

log = logging.getLogger("forge_min.account")


class AccountPages:
    """Handlers of the account pages.

    `identify` is a method of the middleware Identify; `head` is the account part of the layout.

    lifetime: of a session, in seconds.
    min_length: of a password, in characters.
    secure: whether cookies are sent over HTTPS only.
    secret: signs the cookies of known devices; the same in all processes.
    tenant: returns the tenant that a request names.
    views: the project's own templates by name, default the built-in ones.
    sender: sends password-reset links; if None, only an operator can create one.
    """

    def __init__(
        self,
        layout: Layout,
        database: Database,
        *,
        lifetime: float,
        min_length: int,
        secure: bool,
        secret: bytes,
        tenant: Callable[[Request], str | None],
        views: Mapping[str, Render] = {},
        sender: PasswordResetSender | None = None,
    ) -> None:
        self._layout, self._database, self._tenant = layout, database, tenant
        self._lifetime, self._min_length, self._secure = lifetime, min_length, secure
        self._sender, self._device_key = sender, secret
        self._templates = {name: views.get(name, page) for name, page in TEMPLATES.items()}

    def routes(self) -> list[Route]:
        """Return the routes of these pages."""
        routes = [
            Route("GET", PREFIX, self.show, ""),
            Route("POST", _SESSIONS, self.end, ""),
            Route("GET", SIGN_IN, self.ask, ""),
            Route("POST", SIGN_IN, self.sign_in, ""),
            Route("POST", f"{PREFIX}/sign-out", self.sign_out, ""),
            Route("GET", _PASSWORD, self.ask_password, ""),
            Route("POST", _PASSWORD, self.change_password, ""),
            Route("GET", _RESET, self.ask_reset, ""),
            Route("POST", _RESET, self.reset, ""),
        ]
        if self._sender is not None:
            routes.append(Route("GET", _FORGOT, self.ask_forgot, ""))
            routes.append(Route("POST", _FORGOT, self.forgot, ""))
        return routes

    def identify(self, request: Request) -> Identity | None:
        """Return the identity of the request's session; None without a valid session cookie.

        Raises Forbidden F605 for a tenant of which the user is not a member.
        """
        secret = self._cookie(request, SESSION_COOKIE)
        if not secret:
            return None
        # Users that are not members of the tenant must be able to sign out, and to load our files.
        prefixes = (f"{PREFIX}/", "/static/", "/favicon.ico")
        public = request.path == PREFIX or request.path.startswith(prefixes)
        tenant = self._tenant(request)
        try:
            return credentials.identify_session(self._database.connection(), secret, tenant, public)
        except Unavailable:
            if request.path.startswith("/static/"):
                return None  # the error page needs its stylesheet
            raise

    def head(self, request: Request) -> Raw:
        """Render the account part of the layout."""
        identity, root = current_identity(), request.root
        if identity.via != SESSION:
            link = tag("a", WORDS.sign_in, href=f"{root}{SIGN_IN}")
            return tag("p", link, class_="account")
        out = tag("button", WORDS.sign_out, type="submit", class_="quiet")
        action = f"{root}{PREFIX}/sign-out"
        form = tag("form", join([csrf_field(request), out]), method="post", action=action)
        name = tag("a", identity.name, href=f"{root}{PREFIX}")
        return tag("div", join([name, form]), class_="account")

    # -- sign in and out ---------------------------------------------------------------------------

    def ask(self, request: Request) -> Response:
        """Show the sign-in form."""
        return self._sign_in(request, first(request.query, "next"))

    def sign_in(self, request: Request) -> Response:
        """Start a session, then redirect to the page that asked for it."""
        pairs = sent_form(request)
        email, following = first(pairs, "email"), first(pairs, "next")
        conn, password = self._database.connection(), first(pairs, "password")
        try:
            browser = _browser(request)._replace(before=self._cookie(request, SESSION_COOKIE))
            device = self._device(request, email)
            secret = signing.sign_in(conn, email, password, self._lifetime, browser, device)
        except (Unauthenticated, TooManyAttempts) as err:
            log.warning("a sign-in from %s was refused: %s", client_network(request), err)
            return self._sign_in(request, following, email, err)
        return self._signed_in(request, local_path(following) or f"{request.root}/", secret, email)

    def sign_out(self, request: Request) -> Response:
        """End this session."""
        check_csrf(request)
        identity = current_identity()
        if identity.via == SESSION:
            session = credentials.session_id(identity)
            credentials.end_sessions(self._database.connection(), UUID(identity.user), session)
        response = redirect(f"{request.root}/")
        self._set_cookie(response, SESSION_COOKIE, "", 0)
        return response

    # -- the user's own account --------------------------------------------------------------------

    def show(self, request: Request) -> Response:
        """Show the user's name, email, roles and sessions."""
        user, current = self._user_and_session()
        done = first(request.query, "done")
        context: dict[str, Any] = {"heading": user.name or user.email, "email": user.email}
        context["roles"] = ", ".join(sorted(current_identity().roles)) or "–"
        context["notice"] = text("Signed out there.") if done == "ended" else ""
        context["password"] = request.root + _PASSWORD
        context["sessions"] = [
            Item(
                id=session.id,
                agent=_browser_name(session.agent),
                address=session.address,
                since=time_tag(session.created_at),
                seen=time_tag(session.seen_at),
                here=session.id == current,
            )
            for session in credentials.list_sessions(self._database.connection(), user.id)
        ]
        return self._page(request, "account", text("Account"), _SESSIONS, **context)

    def end(self, request: Request) -> Response:
        """End one other session, or all of them."""
        pairs, (user, current) = sent_form(request), self._user_and_session()
        conn, session = self._database.connection(), first(pairs, "session")
        if session == "others":
            credentials.end_sessions(conn, user.id, but=current)
        elif (id := accounts.as_id(session)) is not None:
            credentials.end_sessions(conn, user.id, id)
        return redirect(f"{request.root}{PREFIX}?done=ended")

    def ask_password(self, request: Request) -> Response:
        """Show the form for a new password."""
        return self._password(request, self._user_and_session()[0])

    def change_password(self, request: Request) -> Response:
        """Set a new password, which ends all sessions; this browser gets a new one."""
        pairs, (user, _) = sent_form(request), self._user_and_session()
        conn = self._database.connection()
        try:
            signing.change_password(
                conn, user, first(pairs, "current"), _twice(pairs), self._min_length
            )
        except (Invalid, Unauthenticated, TooManyAttempts) as err:
            return self._password(request, user, err)
        secret = credentials.start_session(conn, user.id, self._lifetime, _browser(request))
        return self._signed_in(request, f"{request.root}{PREFIX}", secret, user.email)

    # -- password reset ----------------------------------------------------------------------------

    def ask_forgot(
        self, request: Request, error: DomainError | None = None, notice: str = ""
    ) -> Response:
        """Show the form that asks for a password-reset link."""
        context: dict[str, Any] = {"email": "", "password": False, "notice": notice}
        context["button"] = WORDS.send
        return self._page(
            request, "account_sign_in", WORDS.forgot, _FORGOT, error, forgot="", **context
        )

    def forgot(self, request: Request) -> Response:
        """Have a password-reset link sent if the email has an account.

        The response is the same for every email, and takes the same time.
        """
        email = first(sent_form(request), "email")
        conn, device = self._database.connection(), self._device(request, email)
        try:
            wanted = signing.count_reset(conn, email, client_network(request), device)
        except TooManyAttempts as err:
            return self.ask_forgot(request, err)
        if self._sender is not None and wanted:
            self._sender.enqueue(email)
        return self.ask_forgot(
            request, notice=text("If this email has an account, a link is on its way.")
        )

    def ask_reset(self, request: Request) -> Response:
        """Show the form of a reset link. The link stays valid: mail programs open links too."""
        key = first(request.query, "key")
        user = signing.find_reset(self._database.connection(), key)
        return self._password(request, user, key=key)

    def reset(self, request: Request) -> Response:
        """Set the new password with the secret of a reset link."""
        pairs, conn = sent_form(request), self._database.connection()
        key = first(pairs, "key")
        try:
            user = signing.use_reset(conn, key, _twice(pairs), self._min_length)
        except Invalid as err:
            return self._password(request, signing.find_reset(conn, key), err, key=key)
        response = redirect(f"{request.root}{SIGN_IN}?done=password")
        return self._remember(request, response, user.email)

    # -- helpers -----------------------------------------------------------------------------------

    def _cookie(self, request: Request, name: str) -> str:
        return cookies_of(request, secure=self._secure).get(name, "")

    def _set_cookie(self, response: Response, name: str, value: str, lifetime: float) -> None:
        header = cookie(name, value, secure=self._secure, lifetime=lifetime)
        response.headers.append(header)

    def _device(self, request: Request, email: str) -> str:
        """Return the known device that sent the request, "" for an unknown one."""
        known = self._cookie(request, DEVICE_COOKIE)
        return signing.find_device(self._database.connection(), self._device_key, known, email)

    def _remember(self, request: Request, response: Response, email: str) -> Response:
        """Add the cookie that makes the browser a known device of the account."""
        known = self._cookie(request, DEVICE_COOKIE)
        value = signing.remember_device(self._database.connection(), self._device_key, known, email)
        self._set_cookie(response, DEVICE_COOKIE, value, signing.DEVICE)
        return response

    def _user_and_session(self) -> tuple[accounts.User, UUID | None]:
        """Return the user and the id of the session. Raises Unauthenticated without a session."""
        identity = current_identity()
        if identity.via != SESSION:
            raise Unauthenticated(text("sign in first"))
        user = accounts.find_user(self._database.connection(), identity.user)
        return user, credentials.session_id(identity)

    def _signed_in(self, request: Request, url: str, secret: str, email: str) -> Response:
        """Return a redirect with the cookie of a new session."""
        response = redirect(url)
        self._set_cookie(response, SESSION_COOKIE, secret, self._lifetime)
        return self._remember(request, response, email)

    def _sign_in(
        self, request: Request, following: str, email: str = "", error: DomainError | None = None
    ) -> Response:
        done = first(request.query, "done")
        notice = text("The password is changed. Sign in with it.") if done == "password" else ""
        if lacks_https(request, secure=self._secure):
            notice = https_message()
        context: dict[str, Any] = {"email": email, "password": True, "notice": notice}
        context["button"] = WORDS.sign_in
        context["forgot"] = f"{request.root}{_FORGOT}" if self._sender is not None else ""
        hidden = {"next": local_path(following)}
        return self._page(
            request, "account_sign_in", WORDS.sign_in, SIGN_IN, error, hidden, **context
        )

    def _password(
        self, request: Request, user: accounts.User, error: DomainError | None = None, key: str = ""
    ) -> Response:
        rule = text("At least {min} characters.", min=self._min_length)
        context: dict[str, Any] = {"email": user.email, "current": not key, "rule": rule}
        path, hidden = _RESET if key else _PASSWORD, {"key": key}
        response = self._page(
            request, "account_password", WORDS.change, path, error, hidden, **context
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
        hidden: Mapping[str, str] = {},
        **context: Any,
    ) -> Response:
        """Return a page with forms.

        action: the path to which they are sent.
        hidden: their hidden inputs; empty ones are left out.
        """
        inputs = [void("input", type="hidden", name=n, value=v) for n, v in hidden.items() if v]
        context |= {"action": request.root + action}
        context |= {"hidden": join([csrf_field(request), *inputs]), "problem": _problem(error)}
        status = status_of(error) if error else 200
        page = self._layout.page(request, self._templates[name], title, status=status, **context)
        if isinstance(error, TooManyAttempts):
            page.headers.append(("Retry-After", str(error.retry_after)))
        return page


def _problem(error: DomainError | None) -> str:
    if isinstance(error, Invalid) and error.errors:
        return f"{WORDS.password}: {error.errors[0].message}"
    return error.message if error else ""


def _twice(pairs: dict[str, list[str]]) -> str:
    """Return the new password. Raises Invalid F630 if the repeated one differs."""
    if first(pairs, "password") != first(pairs, "again"):
        raise Invalid([], text("the two passwords differ"), code="F630")
    return first(pairs, "password")


def _browser(request: Request) -> credentials.Browser:
    return credentials.Browser(client_network(request), request.header("User-Agent") or "")


def _browser_name(agent: str) -> str:
    """Return the names of the browser and the system in a User-Agent header."""
    browsers = ("Edg", "OPR", "Firefox", "Chrome", "Safari", "curl")
    systems = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")
    names = {"Edg": "Edge", "OPR": "Opera", "Mac OS X": "macOS"}
    words = (next((w for w in known if w in agent), "") for known in (browsers, systems))
    return ", ".join(names.get(word, word) for word in words if word) or agent[:40] or "–"
