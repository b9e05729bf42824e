"""Rejects requests that another site makes a browser send (OWASP, Cross-Site Request Forgery).

The origin that the browser reports is checked first (Fetch Metadata; RFC 6454 section 7). A form
also needs a token, which belongs to the session, or without a session to a cookie for this purpose.
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
from ...errors import BadRequest, ServerError, Unauthenticated
from ...i18n import text
from ..markup import Raw, void
from ..problem import HTTPProblem
from ..request import FORM, Request, first
from ..response import Response
from ..router import Handler
from .cookies import SESSION_COOKIE, cookie, cookies_of, lacks_https, read_flash, sign_flash
from .cors import ANY

FIELD = "_csrf_token"  # column names do not begin with "_"
HEADER = "X-CSRF-Token"
COOKIE = "forge_csrf"
_SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))  # RFC 9110 section 9.2.1
_KEY = "forge.csrf"
_NEW_SEED = "forge.csrf.fresh"  # value of the cookie that the response sets
_MOST_KEPT = 1 << 18  # bytes of a form whose entries the sign-in page keeps
_SIZE = 32  # bytes of a SHA-256

log = logging.getLogger("forge_min.csrf")


class CSRF:
    """Middleware inside of `Identify`.

    secret: key of the tokens, the same in all processes.
    origins: other sites that may send requests ("https://shop.example"); "*": all, but without our
        session cookie.
    secure: whether cookies are only for HTTPS.
    """

    def __init__(self, secret: bytes, origins: Sequence[str] = (), *, secure: bool) -> None:
        self._secret = hmac.digest(secret, b"csrf", "sha256")
        self.signing = hmac.digest(secret, b"form", "sha256")
        self._origins = frozenset(origins)
        self.secure = secure

    def __call__(self, request: Request, handler: Handler) -> Response:
        """Call the handler. Raises HTTPProblem 403, F527, for a request of another site."""
        request.environ[_KEY] = self
        if request.method not in _SAFE:
            self._check(request)
        response = handler(request)
        sign_flash(response, self.signing)
        return with_csrf_cookie(request, response)

    def is_valid(self, request: Request, token: str) -> bool:
        """Return whether the token was made for the sender of this request."""
        try:
            data = base64.b64decode(token.encode("ascii"), b"-_", validate=True)
        except ValueError:
            return False
        if len(data) != 2 * _SIZE:
            return False
        unmasked = _xor(data[:_SIZE], data[_SIZE:])
        return hmac.compare_digest(unmasked, self.expected(request))

    def _check(self, request: Request) -> None:
        same_site = _is_same_site(request)
        if same_site is False and not self._may_call(request):
            raise _refusal()
        if current_identity().via != SESSION:
            return
        token = request.header(HEADER)
        if token is None and request.content_type == FORM:
            token = first(request.form(), FIELD)
        if token is None:
            # Forms of another site cannot send JSON without a preflight.
            is_permitted = same_site is True
        else:
            is_permitted = self.is_valid(request, token)
        if not is_permitted:
            raise _refusal()

    def _may_call(self, request: Request) -> bool:
        """Return whether a page of another site may send this request."""
        if request.header("Origin") in self._origins:
            return True
        if ANY not in self._origins:
            return False
        return SESSION_COOKIE not in cookies_of(request, secure=self.secure)

    def expected(self, request: Request) -> bytes:
        """Return the bytes that the tokens of a sender contain."""
        identity = current_identity()
        if identity.via == SESSION:
            seed = identity.credential
        else:
            seed = self._seed(request)
        data = f"{identity.via} {seed}".encode()
        return hmac.digest(self._secret, data, "sha256")

    def _seed(self, request: Request) -> str:
        """Return the cookie's value for a client without a session; a new one if it is not set."""
        seed = cookies_of(request, secure=self.secure).get(COOKIE)
        if not seed:
            seed = str(request.environ.setdefault(_NEW_SEED, secrets.token_urlsafe(18)))
        return seed


def csrf_field(request: Request) -> Raw:
    """Return the hidden input with a token, for a form with method="post".

    The token differs each time, because a compressed page must not repeat a secret (the BREACH
    attack). Raises ServerError if the middleware CSRF is missing.
    """
    mask = secrets.token_bytes(_SIZE)
    masked = _xor(mask, _middleware(request).expected(request))
    token = base64.urlsafe_b64encode(mask + masked).decode()
    return void("input", type="hidden", name=FIELD, value=token)


def sign_form(request: Request, data: bytes) -> bytes:
    """Return the HMAC-SHA256 of data that a client sends back. The data names its owner.

    Raises ServerError if the middleware CSRF is missing.
    """
    # A client can compute the content of its tokens, so the key is another one.
    return hmac.digest(_middleware(request).signing, data, "sha256")


def flashed(request: Request) -> str:
    """Return the message of `flash` for this request, "" without one."""
    middleware = request.environ.get(_KEY)
    if middleware is None:
        return ""
    return read_flash(request, middleware.signing)


def with_csrf_cookie(request: Request, response: Response) -> Response:
    """Add the cookie to which a new token of an anonymous client belongs, if there is one."""
    seed = request.environ.get(_NEW_SEED)
    if seed is None:
        return response
    header = cookie(COOKIE, seed, secure=_middleware(request).secure)
    return response.with_headers([header])


def entries_of(request: Request) -> dict[str, list[str]]:
    """Return the pairs of a form without its token, if the browser reports that we rendered it.

    Returns {} for any other request, and for a form that is malformed or larger than _MOST_KEPT.
    """
    is_form = request.method == "POST" and request.content_type == FORM
    if not is_form or _KEY not in request.environ or not _is_same_site(request):
        return {}
    with suppress(BadRequest, HTTPProblem):
        if len(request.body) < _MOST_KEPT:
            entries = request.form()
            entries.pop(FIELD, None)
            return entries
    return {}


def check_csrf(request: Request) -> None:
    """Check the token of a form that anonymous users may send.

    Raises HTTPProblem 403 unless it is a token of `csrf_field` for the sender: F649 if the browser
    rejected our cookie because HTTPS is missing, else F527.
    """
    csrf = _middleware(request)
    if csrf.is_valid(request, first(request.form(), FIELD)):
        return
    cookies = cookies_of(request, secure=csrf.secure)
    if COOKIE not in cookies and lacks_https(request, secure=csrf.secure):
        peer = request.environ.get("REMOTE_ADDR", "")
        log.warning("a form from %s was refused, because HTTPS is missing", peer)
        raise HTTPProblem(403, https_message(), code="F649")
    if not current_identity().user and SESSION_COOKIE in cookies:
        raise Unauthenticated(text("sign in first"))  # the session has ended since the page
    raise _refusal()


def sent_form(request: Request) -> dict[str, list[str]]:
    """Check the token of a form and return its pairs. Raises as `check_csrf`, `Request.form`."""
    check_csrf(request)
    return request.form()


def _middleware(request: Request) -> CSRF:
    middleware = request.environ.get(_KEY)
    if not isinstance(middleware, CSRF):
        raise ServerError("a form needs the middleware CSRF around its handler", code="F505")
    return middleware


def _is_same_site(request: Request) -> bool | None:
    """Return whether the browser reports a page of this site; None if it reports nothing."""
    site = request.header("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.header("Origin")
    if origin is None:
        return None
    with suppress(ValueError):  # not a URL
        return urlsplit(origin).netloc == request.header("Host")
    return False


def _xor(mask: bytes, data: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(mask, data))


def https_message() -> str:
    """Return the message of a page if HTTPS is missing."""
    return text("HTTPS is missing: over plain HTTP, browsers reject the cookies of this site")


def _refusal() -> HTTPProblem:
    message = text("this form is too old, or another site sent it; go back and reload the page")
    return HTTPProblem(403, message, code="F527")
