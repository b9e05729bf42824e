"""Cookies (RFC 6265bis): HttpOnly, SameSite=Lax, for this host only and for every path."""

from __future__ import annotations

import hmac
from urllib.parse import quote, unquote

from ..request import Request
from ..response import Response

SESSION_COOKIE = "forge_session"
DEVICE_COOKIE = "forge_device"
_FLASH_COOKIE = "forge_flash"
_FLASH_HEADER = "Forge-Flash"  # of a response before `sign_flash`
PREFIX = "__Host-"
"""Browsers reject a cookie with this prefix if it is not Secure or another host sets it."""


def cookie(
    name: str, value: str, *, secure: bool, lifetime: float | None = None
) -> tuple[str, str]:
    """Return the header that sets a cookie.

    name: without PREFIX.
    value: URL-safe text.
    secure: whether the cookie is only for HTTPS, with PREFIX.
    lifetime: seconds; None: until the browser is closed, 0: the cookie is deleted.
    """
    parts = [f"{name}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
    if secure:
        parts[0] = f"{PREFIX}{name}={value}"
        parts.append("Secure")
    if lifetime is not None:
        parts.append(f"Max-Age={int(lifetime)}")
    return "Set-Cookie", "; ".join(parts)


def cookies_of(request: Request, *, secure: bool) -> dict[str, str]:
    """Return the cookies of a request, by the names of `cookie`.

    secure: whether only cookies with PREFIX count, which cannot be set over HTTP.
    """
    cookies: dict[str, str] = {}
    header = request.header("Cookie") or ""
    for pair in header.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.startswith(PREFIX) == secure:
            cookies.setdefault(name.removeprefix(PREFIX), value)
    return cookies


def flash(response: Response, message: str) -> Response:
    """Let the next page show a message, once; for a redirect after a form.

    message: in the language of the user; at most 300 characters are shown.
    """
    response.headers.append((_FLASH_HEADER, quote(message[:300], safe="")))
    return response


def sign_flash(response: Response, key: bytes) -> None:
    """Set the cookie of `flash`. It is signed: another host could set one with its own message."""
    for header in response.headers:
        name, message = header
        if name == _FLASH_HEADER:
            response.headers.remove(header)
            value = f"{_flash_mac(key, message)}.{message}"
            response.headers.append(cookie(_FLASH_COOKIE, value, secure=False, lifetime=60))
            break


def read_flash(request: Request, key: bytes) -> str:
    """Return the message of `flash`, "" without one. The page that shows it deletes it.

    `forms.js` fetches the page of a redirect before the browser opens it. Only the second request
    gets the message.
    """
    if request.header("X-Requested-With"):
        return ""
    signed = cookies_of(request, secure=False).get(_FLASH_COOKIE, "")
    mac, _, message = signed.partition(".")
    expected = _flash_mac(key, message)
    if not hmac.compare_digest(mac.encode(), expected.encode()):
        return ""
    return unquote(message)


def _flash_mac(key: bytes, value: str) -> str:
    return hmac.digest(key, b"flash " + value.encode(), "sha256").hex()


def without_flash(response: Response) -> Response:
    """Delete the message of `flash`."""
    response.headers.append(cookie(_FLASH_COOKIE, "", secure=False, lifetime=0))
    return response


def lacks_https(request: Request, *, secure: bool) -> bool:
    """Return whether the browser rejects our cookies because it uses plain HTTP.

    secure: see `cookie`.
    """
    if not secure or request.environ.get("wsgi.url_scheme") == "https":
        return False
    # Browsers send Sec-Fetch-Site only over HTTPS and to localhost, and keep cookies of both (Fetch
    # Metadata, section 2). A proxy that is not trusted may still terminate TLS.
    if request.header("Sec-Fetch-Site") is not None:
        return False
    forwarded = f"{request.header('X-Forwarded-Proto')} {request.header('Forwarded')}"
    return "https" not in forwarded.lower()
