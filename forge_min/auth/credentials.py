"""Credentials: API keys and sessions, the secrets that stand for a user.

A secret is shown once. Its SHA-256 is stored, which is enough for 256 random bits. Each sign-in
begins a session, whose secret is in a cookie. The session ends at its time, when its user signs out
there or everywhere, or with a new password.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from .. import db
from ..errors import Forbidden, NotFound, Unauthenticated
from ..i18n import text
from .accounts import SQL, as_id, checked_roles
from .identity import SESSION, Identity

KEY = "fmk_"
"""What every API key begins with, so that scanners find one that was committed."""
HINT = len(KEY) + 6  # characters that tell keys apart, and are shown
_VIA = {"key": "api_key", "session": SESSION}  # of an Identity, by the kind of its credential


class ApiKey(NamedTuple):
    """An API key as it is listed.

    roles: those of the user's that it has; None for all. tenant: the slug of the only one that it
    acts in.
    """

    id: UUID
    hint: str
    name: str
    roles: tuple[str, ...] | None
    tenant: str | None
    created_at: datetime
    seen_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


class Session(NamedTuple):
    """A session as it is listed.

    address: the client's at its start. agent: its User-Agent.
    """

    id: UUID
    address: str
    agent: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


def digest(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def create_key(
    conn: psycopg.Connection[Any],
    user: UUID,
    *,
    name: str = "",
    roles: Sequence[str] | None = None,
    tenant: UUID | None = None,
    lifetime: float | None = None,
) -> str:
    """Create an API key. Returns its secret, which is not stored.

    roles: of those that the user has at the time of use; None for all of them.
    tenant: the only one that it acts in.
    lifetime: seconds; None for no end.
    Raises Invalid F632.
    """
    secret = KEY + secrets.token_urlsafe(32)
    params = {
        "key": digest(secret), "hint": secret[:HINT], "user": user, "tenant": tenant, "name": name,
        "roles": None if roles is None else checked_roles(roles), "seconds": lifetime,
    }  # fmt: skip
    db.run(conn, SQL["create_key"], params)
    return secret


def list_keys(conn: psycopg.Connection[Any], user: UUID) -> list[ApiKey]:
    """The user's keys, the oldest first."""
    return [ApiKey(*row) for row in db.run(conn, SQL["keys"], {"user": user})]


def revoke_key(conn: psycopg.Connection[Any], which: str) -> int:
    """End the key of this id, or all whose hint it is; how many. Raises NotFound F635."""
    found = len(db.run(conn, SQL["revoke_key"], {"hint": which, "id": as_id(which)}))
    if not found:
        raise NotFound(f"no key that is good is {which!r}", code="F635")
    return found


def start_session(
    conn: psycopg.Connection[Any],
    user: UUID,
    lifetime: float,
    *,
    address: str = "",
    agent: str = "",
    before: str = "",
) -> str:
    """Start a session of `lifetime` seconds. Returns its secret.

    before: the secret of the browser's previous session, which ends, so that nobody continues a
    session that somebody else began (fixation).
    """
    secret = secrets.token_urlsafe(32)
    params = {
        "key": digest(secret), "user": user, "seconds": lifetime, "address": address[:100],
        "agent": agent[:300], "before": digest(before),
    }  # fmt: skip
    db.run(conn, SQL["start_session"], params)
    return secret


def list_sessions(conn: psycopg.Connection[Any], user: UUID) -> list[Session]:
    """The user's sessions, the newest first."""
    return [Session(*row) for row in db.run(conn, SQL["sessions"], {"user": user})]


def end_sessions(
    conn: psycopg.Connection[Any], user: UUID, id: UUID | None = None, *, but: UUID | None = None
) -> int:
    """End a session of the user's, or all, or all but one; how many."""
    return len(db.run(conn, SQL["end_sessions"], {"user": user, "id": id, "but": but}))


def session_id(identity: Identity) -> UUID | None:
    """The session that an identity is known by; None for another way."""
    kind, _, id = identity.credential.partition(":")
    return UUID(id) if kind == "session" else None


def identify_key(conn: psycopg.Connection[Any], secret: str, tenant: str | None = None) -> Identity:
    """The identity of an API key. tenant: the slug or id of the one to act in.

    Raises Unauthenticated F604 for a key that is not valid, Forbidden F605 for a tenant that the
    user is no member of, or that the key is not for.
    """
    identity = _identify(conn, "key", secret, tenant)
    if identity is None:
        raise Unauthenticated(text("this key is unknown, expired or revoked"))
    return identity


def identify_session(
    conn: psycopg.Connection[Any], secret: str, tenant: str | None = None, apart: bool = False
) -> Identity | None:
    """The identity of a session, or None when it has ended. tenant: as of `identify_key`.

    apart: a user who is no member of the tenant acts in no tenant. Otherwise raises Forbidden F605.
    """
    return _identify(conn, "session", secret, tenant, apart)


def renewed(conn: psycopg.Connection[Any], identity: Identity) -> Identity | None:
    """An identity of a key or session with its roles, time zone and language as they are now.

    Returns None when its key or session is not valid any more, or the user has left the tenant.
    """
    kind, _, id = identity.credential.partition(":")
    if kind not in _VIA:
        return identity
    rows = db.run(conn, SQL[f"{kind}_by_now"], {"id": id, "tenant": identity.tenant})
    for roles, scope, time_zone, language, member in rows:
        if identity.tenant is None or member is not None:
            now = _held(roles, member, scope)
            return replace(identity, roles=now, time_zone=time_zone, language=language)
    return None


def _identify(
    conn: psycopg.Connection[Any], kind: str, secret: str, tenant: str | None, apart: bool = False
) -> Identity | None:
    params = {"key": digest(secret), "slug": tenant or "", "id": as_id(tenant or "")}
    rows = db.run(conn, SQL[f"by_{kind}"], params)
    if not rows:
        return None
    id, user, name, roles, scope, time_zone, language, bound, acts_in, member = rows[0]
    refused = (tenant or bound) and (member is None or bound not in (None, acts_in))
    if refused and not apart:
        raise Forbidden(text("this identity may not do this here"))
    return Identity(
        user=str(user),
        name=name,
        roles=_held(roles, member, scope),
        tenant=None if member is None else acts_in,
        time_zone=time_zone,
        language=language,
        via=_VIA[kind],
        credential=f"{kind}:{id}",
    )


def _held(
    roles: Sequence[str], member: Sequence[str] | None, scope: Sequence[str] | None
) -> frozenset[str]:
    """The user's own roles and a member's; of these only the ones in `scope`, if it is set."""
    held = frozenset((*roles, *(member or ())))
    return held if scope is None else held.intersection(scope)
