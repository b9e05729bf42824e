"""The pages below /account: sign in, sign out, one's sessions, a new password, a lost one.

Who is signed in is known by the cookie of `auth.credentials`. Every form has a token, the one to
sign in too: nobody is signed in as somebody else by another site.
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
    Raw,
    Request,
    Response,
    Route,
    check_csrf,
    cookie,
    cookies_of,
    csrf_field,
    first,
    https_message,
    join,
    lacks_https,
    network,
    redirect,
    sent_form,
    status_of,
    tag,
    time_tag,
    void,
)
from ...wsgi import SESSION_COOKIE as COOKIE
from ..layout import Frame, Render
from ..templates import WORDS, account, password
from ..templates import sign_in as sign_in_page
from .password_reset import PLACE, Links

TEMPLATES: Mapping[str, Render] = {
    "account": account.render, "account_password": password.render,
    "account_sign_in": sign_in_page.render,
}  # fmt: skip
"""The templates that a project may have its own of, in views/<name>.html."""
SIGN_IN = f"{PLACE}/sign-in"

log = logging.getLogger("forge_min.account")


class AccountPages:
    """Handlers, and the two ways in which the rest of an application knows of them: `identify` is a
    method of the middleware Identify, `head` stands in the frame of every page.

    lifetime: of a session, in seconds. at_least: characters of a password. secure: cookies are for
    HTTPS alone. secret: what cookies of known devices are signed with, the same for all processes.
    tenant: tells which tenant a request asks for. links: None = nobody can ask
    for a link, only an operator makes one. views: the project's own templates.
    """

    def __init__(
        self, frame: Frame, database: Database, *, lifetime: float, at_least: int, secure: bool,
        secret: bytes, tenant: Callable[[Request], str | None], links: Links | None = None,
        views: Mapping[str, Render] = {},
    ) -> None:  # fmt: skip
        self._frame, self._database, self._tenant = frame, database, tenant
        self._lifetime, self._at_least, self._secure = lifetime, at_least, secure
        self._links, self._device_key = links, secret
        self._templates = {name: views.get(name, page) for name, page in TEMPLATES.items()}

    def routes(self) -> list[Route]:
        """The routes of these pages."""
        made = [
            Route("GET", PLACE, self.show, ""),
            Route("POST", f"{PLACE}/sessions", self.end, ""),
            Route("GET", SIGN_IN, self.ask, ""),
            Route("POST", SIGN_IN, self.sign_in, ""),
            Route("POST", f"{PLACE}/sign-out", self.sign_out, ""),
            Route("GET", f"{PLACE}/password", self.ask_password, ""),
            Route("POST", f"{PLACE}/password", self.change_password, ""),
            Route("GET", f"{PLACE}/reset", self.ask_reset, ""),
            Route("POST", f"{PLACE}/reset", self.reset, ""),
        ]
        if self._links is not None:
            made.append(Route("GET", f"{PLACE}/forgot", self.ask_forgot, ""))
            made.append(Route("POST", f"{PLACE}/forgot", self.forgot, ""))
        return made

    def identify(self, request: Request) -> Identity | None:
        """Whose session the request's cookie is of; None without one that is good. Raises Forbidden
        F605 for a tenant that its user is no member of.
        """
        secret = self._cookie(request, COOKIE)
        if not secret:
            return None
        # A user who is not a member of the tenant must be able to sign out, and to load our files.
        public = (f"{PLACE}/", "/static/", "/favicon.ico")
        apart = request.path == PLACE or request.path.startswith(public)
        tenant = self._tenant(request)
        try:
            return credentials.identify_session(self._database.connection(), secret, tenant, apart)
        except Unavailable:
            if request.path.startswith("/static/"):
                return None  # a page that says so is to look like one
            raise

    def head(self, request: Request) -> Raw:
        """What every page says of the reader."""
        who, root = current_identity(), request.root
        if who.via != SESSION:
            link = tag("a", WORDS.sign_in, href=f"{root}{SIGN_IN}")
            return tag("p", link, class_="account")
        out = tag("button", WORDS.sign_out, type="submit", class_="quiet")
        form = tag(
            "form", join([csrf_field(request), out]), method="post",
            action=f"{root}{PLACE}/sign-out",
        )  # fmt: skip
        name = tag("a", who.name, href=f"{root}{PLACE}")
        return tag("div", join([name, form]), class_="account")

    # -- in and out --------------------------------------------------------------------------------

    def ask(self, request: Request) -> Response:
        """The form to sign in."""
        following = first(request.query, "next")
        done = first(request.query, "done")
        notice = text("The password is changed. Sign in with it.") if done == "password" else ""
        if lacks_https(request, secure=self._secure):
            notice = https_message()
        return self._sign_in(request, following, notice=notice)

    def sign_in(self, request: Request) -> Response:
        """Begin a session, and go on where it was asked for."""
        pairs = sent_form(request)
        email, following = first(pairs, "email"), first(pairs, "next")
        try:
            secret = signing.sign_in(
                self._database.connection(), email, first(pairs, "password"), self._lifetime,
                address=_address(request), agent=request.header("User-Agent") or "",
                before=self._cookie(request, COOKIE), device=self._device(request, email),
            )  # fmt: skip
        except (Unauthenticated, TooManyAttempts) as err:
            log.warning("a sign-in from %s was refused: %s", _address(request), err)
            return self._sign_in(request, following, email, err)
        return self._signed_in(request, _local(following) or f"{request.root}/", secret, email)

    def sign_out(self, request: Request) -> Response:
        """End this session."""
        check_csrf(request)
        who = current_identity()
        if who.via == SESSION:
            credentials.end_sessions(
                self._database.connection(), UUID(who.user), credentials.session_id(who)
            )
        response = redirect(f"{request.root}/")
        self._set_cookie(response, COOKIE, "", 0)
        return response

    # -- one's own account -------------------------------------------------------------------------

    def show(self, request: Request) -> Response:
        """Who one is, and where one is signed in."""
        user, here = self._me()
        place, done = request.root + PLACE, first(request.query, "done")
        found = credentials.list_sessions(self._database.connection(), user.id)
        return self._page(
            request, "account", text("Account"),
            heading=user.name or user.email, email=user.email,
            roles=", ".join(sorted(current_identity().roles)) or "–",
            notice=text("Signed out there.") if done == "ended" else "",
            password=f"{place}/password", action=f"{place}/sessions",
            sessions=[
                Item(
                    id=one.id, agent=_browser(one.agent), address=one.address,
                    since=time_tag(one.created_at), seen=time_tag(one.seen_at), here=one.id == here,
                )
                for one in found
            ],
        )  # fmt: skip

    def end(self, request: Request) -> Response:
        """Sign out elsewhere: in one place, or in all."""
        pairs, (user, here) = sent_form(request), self._me()
        conn, which = self._database.connection(), first(pairs, "session")
        if which == "others":
            credentials.end_sessions(conn, user.id, but=here)
        elif (id := accounts.as_id(which)) is not None:
            credentials.end_sessions(conn, user.id, id)
        return redirect(f"{request.root}{PLACE}?done=ended")

    def ask_password(self, request: Request) -> Response:
        """The form for a new password."""
        return self._password(request, self._me()[0])

    def change_password(self, request: Request) -> Response:
        """Set a new password, which ends all sessions; this browser gets a new one."""
        pairs, (user, _) = sent_form(request), self._me()
        conn = self._database.connection()
        try:
            signing.change_password(
                conn, user, first(pairs, "current"), _twice(pairs), self._at_least
            )
        except (Invalid, Unauthenticated, TooManyAttempts) as err:
            return self._password(request, user, err)
        secret = credentials.start_session(
            conn, user.id, self._lifetime, address=_address(request),
            agent=request.header("User-Agent") or "",
        )  # fmt: skip
        return self._signed_in(request, f"{request.root}{PLACE}", secret, user.email)

    # -- a lost password ---------------------------------------------------------------------------

    def ask_forgot(self, request: Request) -> Response:
        """The form that asks for a link."""
        return self._forgot(request)

    def forgot(self, request: Request) -> Response:
        """Let a link be sent, where the email has an account. The answer is the same for every
        email, and takes as long.
        """
        email = first(sent_form(request), "email")
        conn, device = self._database.connection(), self._device(request, email)
        try:
            wanted = signing.count_reset(conn, email, _address(request), device)
        except TooManyAttempts as err:
            return self._forgot(request, err)
        if self._links is not None and wanted:
            self._links.ask(email)
        return self._forgot(request, notice=text("If there is such an account, a link is sent."))

    def ask_reset(self, request: Request) -> Response:
        """The form behind a link. It uses nothing up: mail programs look at links too."""
        key = first(request.query, "key")
        user = signing.find_reset(self._database.connection(), key)
        return self._password(request, user, key=key)

    def reset(self, request: Request) -> Response:
        """Set the new password."""
        pairs, conn = sent_form(request), self._database.connection()
        key = first(pairs, "key")
        try:
            user = signing.use_reset(conn, key, _twice(pairs), self._at_least)
        except Invalid as err:
            return self._password(request, signing.find_reset(conn, key), err, key=key)
        answer = redirect(f"{request.root}{SIGN_IN}?done=password")
        return self._remember(request, answer, user.email)

    # -- inside ------------------------------------------------------------------------------------

    def _cookie(self, request: Request, name: str) -> str:
        return cookies_of(request, secure=self._secure).get(name, "")

    def _set_cookie(self, response: Response, name: str, value: str, lifetime: float) -> None:
        header = cookie(name, value, secure=self._secure, lifetime=lifetime)
        response.headers.append(header)

    def _device(self, request: Request, email: str) -> str:
        """The known device that the request comes from, "" for another one."""
        sent = self._cookie(request, DEVICE_COOKIE)
        return signing.find_device(self._database.connection(), self._device_key, sent, email)

    def _remember(self, request: Request, answer: Response, email: str) -> Response:
        """The answer, which makes its browser a known device of the account."""
        sent = self._cookie(request, DEVICE_COOKIE)
        value = signing.remember_device(self._database.connection(), self._device_key, sent, email)
        self._set_cookie(answer, DEVICE_COOKIE, value, signing.DEVICE)
        return answer

    def _me(self) -> tuple[accounts.User, UUID | None]:
        """The user, and the session. Raises Unauthenticated for whoever has none."""
        who = current_identity()
        if who.via != SESSION:
            raise Unauthenticated(text("this needs an identity"))
        user = accounts.find_user(self._database.connection(), who.user)
        return user, credentials.session_id(who)

    def _signed_in(self, request: Request, url: str, secret: str, email: str) -> Response:
        """A redirect that carries the cookie of a session that has begun."""
        response = redirect(url)
        self._set_cookie(response, COOKIE, secret, self._lifetime)
        return self._remember(request, response, email)

    def _sign_in(
        self, request: Request, following: str, email: str = "", error: DomainError | None = None,
        notice: str = "",
    ) -> Response:  # fmt: skip
        return self._page(
            request, "account_sign_in", WORDS.sign_in, error, {"next": _local(following)},
            action=f"{request.root}{SIGN_IN}", email=email, password=True, notice=notice,
            forgot=f"{request.root}{PLACE}/forgot" if self._links is not None else "",
            button=WORDS.sign_in,
        )  # fmt: skip

    def _forgot(
        self, request: Request, error: DomainError | None = None, notice: str = ""
    ) -> Response:
        return self._page(
            request, "account_sign_in", WORDS.forgot, error,
            action=f"{request.root}{PLACE}/forgot", email="", password=False, notice=notice,
            forgot="", button=WORDS.send,
        )  # fmt: skip

    def _password(
        self, request: Request, user: accounts.User, error: DomainError | None = None, key: str = ""
    ) -> Response:
        response = self._page(
            request, "account_password", WORDS.change, error, {"key": key},
            action=f"{request.root}{PLACE}/{'reset' if key else 'password'}", email=user.email,
            current=not key, rule=text("At least {min} characters.", min=self._at_least),
        )  # fmt: skip
        if isinstance(error, Unauthenticated):  # the user is known, the password is wrong
            response.status = 403
        return response

    def _page(
        self,
        request: Request,
        name: str,
        title: str,
        error: DomainError | None = None,
        hidden: Mapping[str, str] = {},
        **context: Any,
    ) -> Response:
        """A page with forms. hidden: their hidden inputs, left out if empty."""
        inputs = [void("input", type="hidden", name=n, value=v) for n, v in hidden.items() if v]
        context |= {"hidden": join([csrf_field(request), *inputs]), "problem": _problem(error)}
        status = status_of(error) if error else 200
        page = self._frame.page(request, self._templates[name], title, status=status, **context)
        if isinstance(error, TooManyAttempts):
            page.headers.append(("Retry-After", str(error.retry_after)))
        return page


def _problem(error: DomainError | None) -> str:
    if isinstance(error, Invalid) and error.errors:
        return f"{WORDS.password}: {error.errors[0].message}"
    return error.message if error else ""


def _twice(pairs: dict[str, list[str]]) -> str:
    """The new password. Raises Invalid F630 where the second is another."""
    if first(pairs, "password") != first(pairs, "again"):
        raise Invalid([], text("the two passwords differ"), code="F630")
    return first(pairs, "password")


def _address(request: Request) -> str:
    return network(request.environ.get("REMOTE_ADDR", ""))


def _local(url: str) -> str:
    """The address, where it leads to a page of ours; else ""."""
    good = url.startswith("/") and not url.startswith("//") and "\\" not in url
    return url if good and url.isprintable() and url.isascii() else ""


def _browser(agent: str) -> str:
    """What people call a browser, of what it says of itself."""
    known: Any = ("Edg", "OPR", "Firefox", "Chrome", "Safari", "curl")
    systems = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")
    name = next((one for one in known if one in agent), "")
    system = next((one for one in systems if one in agent), "")
    names = {"Edg": "Edge", "OPR": "Opera", "Mac OS X": "macOS"}
    found = [names.get(one, one) for one in (name, system) if one]
    return ", ".join(found) or agent[:40] or "–"
