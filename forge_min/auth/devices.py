"""Known devices: a cookie that names a browser, and shows to which accounts it has signed in.

Each account is a signature over the device, the account and what is kept of its password: a new
password makes every device unknown, and nobody reads an email in the cookie.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from typing import Any

import psycopg

from .. import db
from ..expression import expression
from .accounts import SQL
from .signing import plain_email

LIFETIME = 365 * 86_400.0  # seconds that a browser keeps the cookie
_ACCOUNTS = 5  # of one device: the latest
_COOKIE = expression(r"([\w-]{22})((?:\.[\w-]{22})*)")


def find(conn: psycopg.Connection[Any], secret: bytes, cookie: str, email: str) -> str:
    """Returns the device's id when it has signed in to the account of `email`, else ""."""
    id, signatures = _parsed(cookie)
    expected = _signature(conn, secret, id, email) if signatures else ""
    return id if any(hmac.compare_digest(expected, one) for one in signatures) else ""


def remember(conn: psycopg.Connection[Any], secret: bytes, cookie: str, email: str) -> str:
    """Returns the cookie of a device that has just signed in to the account of `email`. cookie: the
    one that it sent, "" for none.
    """
    id, signatures = _parsed(cookie)
    fresh = _signature(conn, secret, id, email)
    return ".".join([id, fresh, *(one for one in signatures if one != fresh)][: _ACCOUNTS + 1])


def _parsed(cookie: str) -> tuple[str, list[str]]:
    """Its id, a new one for what is not such a cookie, and the signatures of its accounts."""
    found = _COOKIE.fullmatch(cookie) if cookie.isascii() else None
    if found is None:
        return secrets.token_urlsafe(16), []
    return found[1], found[2].split(".")[1:]


def _signature(conn: psycopg.Connection[Any], secret: bytes, id: str, email: str) -> str:
    email = plain_email(email)
    rows = db.run(conn, SQL["password"], {"email": email})
    key = hmac.digest(secret, b"device", "sha256")
    data = f"{id} {email} {rows[0][1] if rows else ''}".encode()
    return base64.urlsafe_b64encode(hmac.digest(key, data, "sha256")[:16]).decode().rstrip("=")
