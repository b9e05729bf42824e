"""Requests that a standby may answer, because they name the position that they must not miss.

A response to a write has the position of the write in the WAL, in the header Forge-Position, and
for browsers in a signed cookie; after F409, a position that no standby has. A GET or HEAD with a
position may be answered by a standby that has replayed it; one with `Forge-Consistency: eventual`
by any standby. Everything else is read from the primary.
"""

from __future__ import annotations

import hmac

from .. import db, wsgi
from ..db import ANY_POSITION, Consistency, WalPosition

HEADER = "Forge-Position"
_COOKIE = "forge_position"


class ReadYourWrites:
    """Middleware that sets `db.consistency` for a request.

    secret: signs the cookie; the same in all processes.
    secure: whether the cookie is sent over HTTPS only.
    """

    def __init__(self, secret: bytes, *, secure: bool) -> None:
        self._key = hmac.digest(secret, b"position", "sha256")
        self._secure = secure

    def __call__(self, request: wsgi.Request, handler: wsgi.Handler) -> wsgi.Response:
        """Return the response, with the position of the request's last write."""
        current = Consistency()
        if request.method in ("GET", "HEAD"):
            current.required = self._required(request)
        token = db.consistency.set(current)
        try:
            response = handler(request)
        finally:
            db.consistency.reset(token)
        error = request.environ.get(wsgi.ERROR)
        if getattr(error, "code", "") == "F409":
            current.note(db.UNKNOWN_POSITION)
        if current.written is not None:
            value = str(current.written)
            response.headers.append((HEADER, value))
            if request.header("Cookie") or response.header("Set-Cookie"):
                signed = f"{value}.{self._sign(value)}"
                response.headers.append(wsgi.cookie(_COOKIE, signed, secure=self._secure))
        return response

    def _required(self, request: wsgi.Request) -> WalPosition | None:
        """Return the position that the client names; None: it must be read from the primary."""
        if (request.header("Forge-Consistency") or "").strip().lower() == "eventual":
            return ANY_POSITION
        position = request.header(HEADER)
        if position is not None:
            return WalPosition.parse(position)
        cookies = wsgi.cookies_of(request, secure=self._secure)
        value, _, signature = cookies.get(_COOKIE, "").rpartition(".")
        expected = self._sign(value)
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            return None
        return WalPosition.parse(value)

    def _sign(self, value: str) -> str:
        return hmac.digest(self._key, value.encode(), "sha256").hex()[:32]
