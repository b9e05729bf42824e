"""Who may ask the admin server: whoever has its token, else whoever is on this machine.

A browser brings requests of other sites too. Without a token only names that nobody else can give
to this machine are answered (DNS rebinding), and another site can at most link to a page.
"""

from __future__ import annotations

import hmac
import time
from ipaddress import ip_address
from math import ceil
from urllib.parse import urlencode, urlsplit

from ..fanout import RateLimiter
from ..wsgi import Request, escape
from ..wsgi.middleware import bearer
from ..wsgi.middleware.cookies import cookies_of
from ..wsgi.middleware.limits import network
from ..wsgi.request import first
from .answer import Answer, html, preferred, see, text

SIGN_IN = "/sign-in"
_COOKIE = "forge_admin"
_GUESSES, _MINUTE = 10, 60.0
_MOST = 10_000  # networks that are remembered
_FORM = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/forge/forge.css">
<link rel="stylesheet" href="/static/admin/admin.css"></head>
<body><main><h1>Sign in</h1>{wrong}<form class="form" method="post" action="/sign-in">
<input type="hidden" name="next" value="{next}">
<p><label for="token">admin.token</label>
<input id="token" type="password" name="token" required autofocus></p>
<p><button>Sign in</button></p></form></main></body></html>
"""
_WRONG = '<p class="notice bad" role="alert">That is not the token.</p>'


class Access:
    """token: "" where none is needed. host: the configured one, which may be asked for by name."""

    def __init__(self, token: str, host: str) -> None:
        self._token, self._host = token, host.lower()
        # The token itself stays out of the browser's storage.
        self._cookie = hmac.digest(token.encode(), b"forge_min admin", "sha256").hex()
        self._guesses = _Guesses()

    def refused(self, request: Request) -> Answer | None:
        """The answer to who may not even sign in; None for all others."""
        host = request.header("Host") or ""
        if not self._token and host and not self._is_ours(host):
            return text("ask for this machine by 127.0.0.1 or localhost\n", "403 Forbidden")
        if _is_of_another_site(request, host):
            return text("another site may not ask for this\n", "403 Forbidden")
        if self._token and (bearer(request) is not None or request.method == "POST"):
            return self._guesses.refused(_place(request))
        return None

    def is_allowed(self, request: Request) -> bool:
        """By bearer token (RFC 6750), or by the cookie of somebody who has signed in."""
        if not self._token:
            return True
        token = bearer(request)
        if token is not None:
            return self._is_token(request, token)
        return _same(cookies_of(request, secure=False).get(_COOKIE, ""), self._cookie)

    def asked_to_sign_in(self, request: Request, page: bool) -> Answer:
        """The answer to whoever is not allowed. page: only browsers ask for it."""
        accept = request.header("Accept") or ""
        if page or preferred(accept, ("text/plain", "text/html")) == "text/html":
            query = request.environ.get("QUERY_STRING", "")
            place = request.path + (f"?{query}" if query else "")
            return see(f"{SIGN_IN}?{urlencode({'next': place})}")
        answer = text("a bearer token is required\n", "401 Unauthorized")
        return answer._replace(headers=[("WWW-Authenticate", 'Bearer realm="admin"')])

    def sign_in(self, request: Request) -> Answer:
        """A form that takes the token, for browsers; then the page that was asked for first."""
        posted = request.method == "POST"
        given = request.form() if posted else request.query
        place = _path(first(given, "next"))
        if posted and self._is_token(request, first(given, "token")):
            cookie = f"{_COOKIE}={self._cookie}; Path=/; HttpOnly; SameSite=Strict"
            return see(place, ("Set-Cookie", cookie))
        page = _FORM.format(wrong=_WRONG if posted else "", next=escape(place))
        return html(page, "403 Forbidden" if posted else "200 OK")

    def _is_token(self, request: Request, given: str) -> bool:
        good = _same(given, self._token)
        if not good:
            self._guesses.wrong(_place(request))
        return good

    def _is_ours(self, host: str) -> bool:
        """Whether the name can only mean this machine, or the one that was configured."""
        name = host_name(host)
        try:
            return name in ("localhost", self._host) or bool(ip_address(name))
        except ValueError:
            return False


def host_name(host: str) -> str:
    """The name or address in a Host field, without its port."""
    rest, _, port = host.rpartition(":")
    return (rest if rest and port.isdigit() else host).lower().strip("[]").removesuffix(".")


class _Guesses:
    """Wrong tokens, by network: after ten in a minute no token from there is looked at until
    another guess is due, or a right one could still be guessed.
    """

    def __init__(self) -> None:
        self._limiter = RateLimiter(limit=_GUESSES, period=_MINUTE)
        self._until: dict[str, float] = {}  # each operation on it is atomic

    def wrong(self, place: str) -> None:
        allowed, left, seconds = self._limiter.take(place)
        if not allowed or not left:
            if len(self._until) >= _MOST:
                self._until.clear()
            self._until[place] = time.monotonic() + (_MINUTE / _GUESSES if allowed else seconds)

    def refused(self, place: str) -> Answer | None:
        left = self._until.get(place, 0.0) - time.monotonic()
        if left <= 0:
            self._until.pop(place, None)
            return None
        answer = text("too many wrong tokens\n", "429 Too Many Requests")
        return answer._replace(headers=[("Retry-After", str(ceil(left)))])


def _is_of_another_site(request: Request, host: str) -> bool:
    """What a browser says of who asks (Fetch Metadata, and RFC 6454 where it is older): another
    site may lead to a page, and neither change anything nor begin what costs.
    """
    origin = request.header("Origin")
    if origin is not None and request.method == "POST" and urlsplit(origin).netloc != host:
        return True
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
