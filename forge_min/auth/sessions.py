"""Sessions: where somebody is signed in. The cookie holds a secret, the table its SHA-256.

Each sign-in begins one with a new secret. It ends at its time, when its user signs out there or
everywhere, or with a new password.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from .. import db
from ..errors import Forbidden
from ..text import text
from .accounts import SQL, as_id, held, updated
from .identity import SESSION, Identity
from .keys import digest

CREDENTIAL = "session:"  # of an Identity


class Session(NamedTuple):
    """One session as it is listed. address: where it began. agent: what browser it said to be."""

    id: UUID
    address: str
    agent: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


def start(
    conn: psycopg.Connection[Any], user: UUID, lifetime: float, *, address: str = "",
    agent: str = "", before: str = "",
) -> str:  # fmt: skip
    """A new session of `lifetime` seconds; its secret. before: the secret of the one that the
    browser had, which ends: nobody goes on with a session that somebody else began (fixation).
    """
    secret = secrets.token_urlsafe(32)
    params = {
        "key": digest(secret), "user": user, "seconds": lifetime, "address": address[:100],
        "agent": agent[:300], "before": digest(before),
    }  # fmt: skip
    db.run(conn, SQL["start_session"], params)
    return secret


def identify(
    conn: psycopg.Connection[Any], secret: str, tenant: str | None = None, apart: bool = False
) -> Identity | None:
    """Whose session it is; None for one that has ended. tenant: the slug or id of the one to act
    in. Raises Forbidden F605 for a tenant that the user is no member of; apart: who is none acts in
    no tenant then.
    """
    params = {"key": digest(secret), "slug": tenant or "", "id": as_id(tenant or "")}
    rows = db.run(conn, SQL["by_session"], params)
    if not rows:
        return None
    id, user, name, roles, time_zone, language, acts_in, member = rows[0]
    if tenant and member is None and not apart:
        raise Forbidden(text("this identity may not do this here"))
    return Identity(
        user=str(user),
        name=name,
        roles=held(roles, member),
        tenant=None if member is None else acts_in,
        time_zone=time_zone,
        language=language,
        via=SESSION,
        credential=f"{CREDENTIAL}{id}",
    )


def renewed(conn: psycopg.Connection[Any], identity: Identity) -> Identity | None:
    """What an identity of `identify` is by now; None where its session has ended, or the user has
    left the tenant.
    """
    params = {"id": id_of(identity), "tenant": identity.tenant}
    return updated(identity, db.run(conn, SQL["session_by_now"], params))


def id_of(identity: Identity) -> UUID | None:
    """The session that an identity is known by; None for another way."""
    if not identity.credential.startswith(CREDENTIAL):
        return None
    return UUID(identity.credential.removeprefix(CREDENTIAL))


def list_sessions(conn: psycopg.Connection[Any], user: UUID) -> list[Session]:
    """Where the user is signed in, the newest first."""
    return [Session(*row) for row in db.run(conn, SQL["sessions"], {"user": user})]


def end(
    conn: psycopg.Connection[Any], user: UUID, id: UUID | None = None, *, but: UUID | None = None
) -> int:
    """End a session of the user's, or all, or all but one; how many."""
    return len(db.run(conn, SQL["end_sessions"], {"user": user, "id": id, "but": but}))
