"""Cookies (RFC 6265bis): ours are HttpOnly, SameSite=Lax, of this host and every path alone."""

from __future__ import annotations

from ..request import Request

SESSION_COOKIE = "forge_session"
DEVICE_COOKIE = "forge_device"
PREFIX = "__Host-"
"""What makes a browser refuse a cookie that is not Secure, or that another host has set."""


def cookie(
    name: str, value: str, *, secure: bool, lifetime: float | None = None
) -> tuple[str, str]:
    """The header that sets it. value: URL-safe text. secure: for HTTPS alone, with the prefix.
    lifetime: seconds; None = until the browser ends, 0 = it is taken away.
    """
    parts = [f"{PREFIX if secure else ''}{name}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
    if secure:
        parts.append("Secure")
    if lifetime is not None:
        parts.append(f"Max-Age={int(lifetime)}")
    return "Set-Cookie", "; ".join(parts)


def cookies_of(request: Request, *, secure: bool) -> dict[str, str]:
    """Those that are sent, by the names of `cookie`. secure: only with the prefix, which nobody
    between could have set over HTTP.
    """
    found: dict[str, str] = {}
    for pair in (request.header("Cookie") or "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name.startswith(PREFIX) if secure else not name.startswith(PREFIX):
            found.setdefault(name.removeprefix(PREFIX), value)
    return found


def lacks_https(request: Request, *, secure: bool) -> bool:
    """Whether a browser that sent this request refuses our cookies: they are for HTTPS, and it used
    plain HTTP. secure: as of `cookie`.
    """
    if not secure or request.environ.get("wsgi.url_scheme") == "https":
        return False
    # Browsers send Sec-Fetch-Site only over HTTPS and to their own machine (Fetch Metadata, section
    # 2), whose cookies they keep. A proxy that is not trusted may still be the one with TLS.
    forwarded = f"{request.header('X-Forwarded-Proto')} {request.header('Forwarded')}"
    return request.header("Sec-Fetch-Site") is None and "https" not in forwarded.lower()
