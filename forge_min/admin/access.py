"""Authorization of the admin server: by its token, or by access from this machine without one.

A browser also sends requests of other sites. Without a token, only host names that an attacker
cannot register are accepted (DNS rebinding). Another site can only link to a page.
"""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from math import ceil
from urllib.parse import urlencode

from .. import wsgi
from ..errors import Forbidden, TooManyAttempts, Unauthenticated
from .templates import sign_in

SIGN_IN = "/sign-in"
_OPEN = ("/favicon.ico", "/healthz", SIGN_IN)  # for probes and the sign-in form
_COOKIE = "forge_admin"
_ATTEMPTS = 10  # wrong tokens in a minute
_MINUTE = 60.0


class Access:
    """The middleware that authorizes clients.

    token: the secret, "" if none is required.
    host: the configured host, which is accepted as a Host header.
    """

    def __init__(self, token: str, host: str) -> None:
        self._token = token
        self._host = host.lower()
        # The browser does not store the token itself.
        self._cookie = hmac.digest(token.encode(), b"forge_min admin", "sha256").hex()
        self._wrong = wsgi.RateLimiter(_ATTEMPTS, _MINUTE)  # a wrong token of a network takes one

    def routes(self) -> dict[str, wsgi.Handler]:
        """Return the handlers of the sign-in form, if a token is required."""
        if not self._token:
            return {}
        return {f"GET {SIGN_IN}": self._sign_in_form, f"POST {SIGN_IN}": self._sign_in}

    def __call__(self, request: wsgi.Request, handler: wsgi.Handler) -> wsgi.Response:
        """Return the handler's response, or redirect a browser to the sign-in form.

        Raises Forbidden, Unauthenticated, and TooManyAttempts after too many wrong tokens.
        """
        path = request.path
        host = request.header("Host") or ""
        if not self._token and host and not self._is_safe_host(host):
            raise Forbidden("use 127.0.0.1 or localhost in the URL of this admin server")
        if _is_cross_site(request):
            raise Forbidden("another site sent this request: open the URL directly")
        if self._token and (wsgi.bearer(request) is not None or request.method == "POST"):
            self._check_attempts(request)
        if path in _OPEN or path.startswith("/static/") or self._is_allowed(request):
            return handler(request)
        is_page = wsgi.preferred(request, ("text/plain", "text/html")) == "text/html"
        if is_page or path.startswith("/jobs"):  # all pages there are HTML
            url = path
            if request.environ.get("QUERY_STRING"):
                url += f"?{request.environ['QUERY_STRING']}"
            return wsgi.redirect(f"{SIGN_IN}?{urlencode({'next': url})}")
        raise Unauthenticated("a bearer token is required: send admin.token")

    def _is_allowed(self, request: wsgi.Request) -> bool:
        """Return whether the bearer token (RFC 6750) or the sign-in cookie is valid."""
        if not self._token:
            return True
        token = wsgi.bearer(request)
        if token is not None:
            return self._is_token(request, token)
        cookie = wsgi.cookies_of(request, secure=False).get(_COOKIE, "")
        return _equal(cookie, self._cookie)

    def _sign_in_form(self, request: wsgi.Request) -> wsgi.Response:
        url = wsgi.local_path(wsgi.first(request.query, "next")) or "/"
        return wsgi.html_response(sign_in.render(wrong=False, next=url))

    def _sign_in(self, request: wsgi.Request) -> wsgi.Response:
        """Set the cookie, and redirect to the page that was requested first."""
        form = request.form()
        url = wsgi.local_path(wsgi.first(form, "next")) or "/"
        if not self._is_token(request, wsgi.first(form, "token")):
            return wsgi.html_response(sign_in.render(wrong=True, next=url), 403)
        response = wsgi.redirect(url)
        cookie = f"{_COOKIE}={self._cookie}; Path=/; HttpOnly; SameSite=Strict"
        response.headers.append(("Set-Cookie", cookie))
        return response

    def _check_attempts(self, request: wsgi.Request) -> None:
        """Raise TooManyAttempts after ten wrong tokens in a minute from the client's network.

        No token is compared then: otherwise the correct one could still be guessed.
        """
        _, remaining, until_full = self._wrong.take(wsgi.client_network(request), 0)
        if not remaining:
            seconds = until_full - _MINUTE + _MINUTE / _ATTEMPTS  # until the next attempt
            raise TooManyAttempts("too many wrong tokens", retry_after=ceil(seconds))

    def _is_token(self, request: wsgi.Request, token: str) -> bool:
        valid = _equal(token, self._token)
        if not valid:
            self._wrong.take(wsgi.client_network(request))
        return valid

    def _is_safe_host(self, host: str) -> bool:
        """Return whether DNS rebinding cannot produce this Host header.

        An address cannot be rebound; localhost and the configured host are not an attacker's names.
        """
        name = _host_name(host)
        if name in ("localhost", self._host):
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def _host_name(host: str) -> str:
    """Return the name or address of a Host header, without its port."""
    name, _, port = host.rpartition(":")
    if not name or not port.isdigit():
        name = host
    return name.lower().strip("[]").removesuffix(".")


def _is_cross_site(request: wsgi.Request) -> bool:
    """Return whether another site sent a forbidden request (Fetch Metadata).

    It may link to a page, but not send a form or start costly work.
    """
    if request.header("Sec-Fetch-Site") not in ("cross-site", "same-site"):
        return False
    link = request.header("Sec-Fetch-Mode") == "navigate" and request.method == "GET"
    return not link or request.path.startswith("/debug/")


def _equal(token: str, secret: str) -> bool:
    return hmac.compare_digest(token.encode("utf-8", "replace"), secret.encode())
