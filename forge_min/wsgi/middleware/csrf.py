"""Requests that another site makes a browser send are refused (OWASP, Cross-Site Request Forgery).

What a browser says of a request's origin counts first (Fetch Metadata; RFC 6454 section 7); a form
must bring a token as well, which belongs to the session, or to a cookie of its own before one.
"""

from __future__ import annotations

import base64
import hmac
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from ...auth import SESSION, current_identity
from ...errors import ServerError
from ...i18n import text
from ..markup import Raw, void
from ..problem import HTTPProblem
from ..request import FORM, Request, first
from ..response import Response
from ..router import Handler
from .cookies import SESSION_COOKIE, cookie, cookies_of, lacks_https
from .cors import ANY

FIELD = "_csrf_token"  # no column begins so
HEADER = "X-CSRF-Token"
COOKIE = "forge_csrf"
_SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))  # RFC 9110 section 9.2.1
_KEY = "forge.csrf"
_FRESH = "forge.csrf.fresh"  # the value of a cookie that the answer sets
_SIZE = 32  # bytes of a SHA-256

log = logging.getLogger("forge_min.csrf")


class CSRF:
    """Middleware, inside of what tells who asks.

    secret: what tokens are made with, the same for all processes. origins: of other sites that may
    call ("https://shop.example"); "*": all, without our session cookie. secure: cookies are for
    HTTPS alone.
    """

    def __init__(self, secret: bytes, origins: Sequence[str] = (), *, secure: bool) -> None:
        self._secret = hmac.digest(secret, b"csrf", "sha256")
        self._signing = hmac.digest(secret, b"form", "sha256")
        self._origins, self._secure = frozenset(origins), secure

    def __call__(self, request: Request, handler: Handler) -> Response:
        """The handler's answer. Raises HTTPProblem 403, F527, for a request of another site's."""
        request.environ[_KEY] = self
        if request.method not in _SAFE:
            self._check(request)
        response = handler(request)
        fresh = request.environ.get(_FRESH)
        if fresh is not None:
            response = Response(response.status, response.body, response.headers)
            response.headers.append(cookie(COOKIE, fresh, secure=self._secure))
        return response

    def token(self, request: Request) -> str:
        """A token for a form of this request's answer; another text each time, because a page that
        is compressed must not hold the same secret twice (the BREACH attack).
        """
        mask = secrets.token_bytes(_SIZE)
        masked = _xor(mask, self._expected(request))
        return base64.urlsafe_b64encode(mask + masked).decode()

    def sign(self, request: Request, data: bytes) -> bytes:
        """The HMAC-SHA256 of data that only the session of this request may send back."""
        # A client can read what tokens are made of, so that is not the key.
        return hmac.digest(self._signing, self._expected(request) + data, "sha256")

    def is_good(self, request: Request, token: str) -> bool:
        """Whether the token was made for whoever sends it."""
        try:
            data = base64.b64decode(token.encode("ascii"), b"-_", validate=True)
        except ValueError:
            return False
        given = _xor(data[:_SIZE], data[_SIZE:])
        return len(data) == 2 * _SIZE and hmac.compare_digest(given, self._expected(request))

    def check(self, request: Request) -> None:
        """Raises HTTPProblem 403 when the form has no token made for its sender: F649 when the
        browser did not keep our cookie because HTTPS is missing, else F527.
        """
        if self.is_good(request, _posted(request)):
            return
        lost = COOKIE not in cookies_of(request, secure=self._secure)
        if lost and lacks_https(request, secure=self._secure):
            peer = request.environ.get("REMOTE_ADDR", "")
            log.warning("a form from %s was refused, because HTTPS is missing", peer)
            raise HTTPProblem(403, https_message(), code="F649")
        raise _refusal()

    def _check(self, request: Request) -> None:
        own = _is_own(request)
        if own is False and not self._may_call(request):
            raise _refusal()
        if current_identity().via != SESSION:
            return
        token = request.header(HEADER)
        if token is not None:
            good = self.is_good(request, token)
        elif request.content_type == FORM:
            good = self.is_good(request, _posted(request))
        else:
            good = own is True  # no form of another site sends JSON without asking first
        if not good:
            raise _refusal()

    def _may_call(self, request: Request) -> bool:
        """Whether a page of another site may: of one that is named, or of any as nobody of ours."""
        if request.header("Origin") in self._origins:
            return True
        known = cookies_of(request, secure=self._secure)
        return ANY in self._origins and SESSION_COOKIE not in known

    def _expected(self, request: Request) -> bytes:
        who = current_identity()
        seed = who.credential if who.via == SESSION else self._seed(request)
        return hmac.digest(self._secret, f"{who.via} {seed}".encode(), "sha256")

    def _seed(self, request: Request) -> str:
        """The value of the cookie of whoever has no session; a new one where there is none."""
        known = cookies_of(request, secure=self._secure).get(COOKIE)
        if known:
            return known
        return str(request.environ.setdefault(_FRESH, secrets.token_urlsafe(18)))


def csrf_field(request: Request) -> Raw:
    """The hidden input that a form with method="post" needs. Raises ServerError outside of an
    application.
    """
    return void("input", type="hidden", name=FIELD, value=_middleware(request).token(request))


def sign_form(request: Request, data: bytes) -> bytes:
    """As `CSRF.sign`. Raises ServerError outside of an application."""
    return _middleware(request).sign(request, data)


def check_csrf(request: Request) -> None:
    """What a handler calls that takes a form of somebody who may be nobody. Raises HTTPProblem 403,
    F527 or F649, unless the form has the token of `csrf_field`.
    """
    _middleware(request).check(request)


def sent_form(request: Request) -> dict[str, list[str]]:
    """The pairs of a form of ours. Raises as `check_csrf` and `Request.form`."""
    check_csrf(request)
    return request.form()


def _middleware(request: Request) -> CSRF:
    found = request.environ.get(_KEY)
    if not isinstance(found, CSRF):
        raise ServerError("a form needs the middleware CSRF around its handler", code="F505")
    return found


def _is_own(request: Request) -> bool | None:
    """Whether the browser says that a page of ours sends this; None where it says nothing."""
    site = request.header("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.header("Origin")
    if origin is None:
        return None
    with suppress(ValueError):  # of what is no URL
        return urlsplit(origin).netloc == request.header("Host")
    return False


def _posted(request: Request) -> str:
    return first(request.form(), FIELD)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other))


def https_message() -> str:
    """What a page says when HTTPS is missing."""
    return text("HTTPS is missing: over plain HTTP, browsers do not keep the cookies of this site")


def _refusal() -> HTTPProblem:
    message = text("this form is too old, or another site sent it; go back, load the page anew")
    return HTTPProblem(403, message, code="F527")
