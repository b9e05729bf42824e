"""Who may ask the admin server: whoever has its token, else whoever is on this machine.

A browser brings requests of other sites too. Without a token only names that nobody else can give
to this machine are answered (DNS rebinding), and another site can at most link to a page.
"""

from __future__ import annotations

import hmac
import time
from ipaddress import ip_address
from math import ceil
from urllib.parse import urlencode

from ..errors import Forbidden, TooManyAttempts, Unauthenticated
from ..wsgi import (
    Handler,
    RateLimiter,
    Request,
    Response,
    bearer,
    cookies_of,
    first,
    html_response,
    network,
    preferred,
    redirect,
)
from .templates import sign_in

SIGN_IN = "/sign-in"
_OPEN = ("/favicon.ico", "/healthz", SIGN_IN)  # probes, and the form to sign in, know no secret
_COOKIE = "forge_admin"
_GUESSES, _MINUTE = 10, 60.0
_MOST = 10_000  # networks that are remembered


class Access:
    """Middleware. token: "" where none is needed. host: the configured one, which may be asked for
    by name.
    """

    def __init__(self, token: str, host: str) -> None:
        self._token, self._host = token, host.lower()
        # The token itself stays out of the browser's storage.
        self._cookie = hmac.digest(token.encode(), b"forge_min admin", "sha256").hex()
        self._guesses = _Guesses()

    def routes(self) -> dict[str, Handler]:
        """The form to sign in, where there is a token."""
        form = {f"GET {SIGN_IN}": self._ask_token, f"POST {SIGN_IN}": self._sign_in}
        return {**form} if self._token else {}

    def __call__(self, request: Request, handler: Handler) -> Response:
        """The handler's answer to who may ask; a redirect to the form for a browser.

        Raises Forbidden, Unauthenticated, and TooManyAttempts after too many wrong tokens.
        """
        host, path = request.header("Host") or "", request.path
        if not self._token and host and not self._is_ours(host):
            raise Forbidden("ask for this machine by 127.0.0.1 or localhost")
        if _is_of_another_site(request):
            raise Forbidden("another site may not ask for this")
        if self._token and (bearer(request) is not None or request.method == "POST"):
            self._guesses.check(_place(request))
        if path in _OPEN or path.startswith("/static/") or self._is_allowed(request):
            return handler(request)
        if (
            path.startswith("/jobs")
            or preferred(request, ("text/plain", "text/html")) == "text/html"
        ):
            query = request.environ.get("QUERY_STRING", "")
            place = path + (f"?{query}" if query else "")
            return redirect(f"{SIGN_IN}?{urlencode({'next': place})}")
        raise Unauthenticated("a bearer token is required")

    def _is_allowed(self, request: Request) -> bool:
        """By bearer token (RFC 6750), or by the cookie of somebody who has signed in."""
        if not self._token:
            return True
        token = bearer(request)
        if token is not None:
            return self._is_token(request, token)
        return _same(cookies_of(request, secure=False).get(_COOKIE, ""), self._cookie)

    def _ask_token(self, request: Request) -> Response:
        place = _path(first(request.query, "next"))
        return html_response(sign_in.render(wrong=False, next=place))

    def _sign_in(self, request: Request) -> Response:
        """Then the page that was asked for first."""
        place = _path(first(request.form(), "next"))
        if not self._is_token(request, first(request.form(), "token")):
            return html_response(sign_in.render(wrong=True, next=place), 403)
        answer = redirect(place)
        cookie = f"{_COOKIE}={self._cookie}; Path=/; HttpOnly; SameSite=Strict"
        answer.headers.append(("Set-Cookie", cookie))
        return answer

    def _is_token(self, request: Request, given: str) -> bool:
        good = _same(given, self._token)
        if not good:
            self._guesses.wrong(_place(request))
        return good

    def _is_ours(self, host: str) -> bool:
        """Whether the name can only mean this machine, or the one that was configured."""
        name = _host_name(host)
        try:
            return name in ("localhost", self._host) or bool(ip_address(name))
        except ValueError:
            return False


def _host_name(host: str) -> str:
    """The name or address in a Host field, without its port."""
    rest, _, port = host.rpartition(":")
    return (rest if rest and port.isdigit() else host).lower().strip("[]").removesuffix(".")


class _Guesses:
    """Wrong tokens, by network: after ten in a minute no token from there is looked at until
    another guess is due, or a right one could still be guessed.
    """

    def __init__(self) -> None:
        self._limiter = RateLimiter(_GUESSES, _MINUTE)
        self._until: dict[str, float] = {}  # each operation on it is atomic

    def wrong(self, place: str) -> None:
        allowed, left, seconds = self._limiter.take(place)
        if not allowed or not left:
            if len(self._until) >= _MOST:
                self._until.clear()
            self._until[place] = time.monotonic() + (_MINUTE / _GUESSES if allowed else seconds)

    def check(self, place: str) -> None:
        """Raises TooManyAttempts."""
        left = self._until.get(place, 0.0) - time.monotonic()
        if left > 0:
            raise TooManyAttempts("too many wrong tokens", retry_after=ceil(left))
        self._until.pop(place, None)


def _is_of_another_site(request: Request) -> bool:
    """What a browser says of who asks (Fetch Metadata): another site may lead to a page, and not
    begin what costs. The middleware CSRF refuses what changes something.
    """
    if request.header("Sec-Fetch-Site") not in ("cross-site", "same-site"):
        return False
    leads = request.header("Sec-Fetch-Mode") == "navigate" and request.method == "GET"
    return not leads or request.path.startswith("/debug/")


def _path(given: str) -> str:
    """A path of this server, to go on to; "/" in place of anything else."""
    plain = given.isascii() and given.isprintable() and "\\" not in given
    return given if plain and given.startswith("/") and not given.startswith("//") else "/"


def _place(request: Request) -> str:
    return network(request.environ.get("REMOTE_ADDR", ""))


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), known.encode())
