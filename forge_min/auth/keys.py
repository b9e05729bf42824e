"""API keys: secrets that stand for a user.

A secret is shown once; what is kept is its SHA-256, which is enough for 256 random bits.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from .. import db
from ..errors import Forbidden, NotFound, Unauthenticated
from ..text import text
from .accounts import SQL, as_id, checked_roles, held, updated
from .identity import Identity

KEY = "fmk_"
"""What every API key begins with, so that scanners find one that was committed."""
VIA, CREDENTIAL = "api_key", "key:"  # of an Identity
HINT = len(KEY) + 6  # characters that tell keys apart, and are shown


class Key(NamedTuple):
    """An API key as it is listed. roles: of the user's; None = all. tenant: the slug of its one."""

    id: UUID
    hint: str
    name: str
    roles: tuple[str, ...] | None
    tenant: str | None
    created_at: datetime
    seen_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


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
    """A new API key, which nobody can show again. roles: of those that the user has at the time of
    use; None = all of them. tenant: the only one that it acts in. lifetime: seconds; None = until
    it is revoked. Raises Invalid F632.
    """
    secret = KEY + secrets.token_urlsafe(32)
    params = {
        "key": digest(secret), "hint": secret[:HINT], "user": user, "tenant": tenant, "name": name,
        "roles": None if roles is None else checked_roles(roles), "seconds": lifetime,
    }  # fmt: skip
    db.run(conn, SQL["create_key"], params)
    return secret


def list_keys(conn: psycopg.Connection[Any], user: UUID) -> list[Key]:
    """The user's keys, the oldest first."""
    return [Key(*row) for row in db.run(conn, SQL["keys"], {"user": user})]


def revoke_key(conn: psycopg.Connection[Any], which: str) -> int:
    """End the key of this id, or all whose hint it is; how many. Raises NotFound F635."""
    found = len(db.run(conn, SQL["revoke_key"], {"hint": which, "id": as_id(which)}))
    if not found:
        raise NotFound(f"no key that is good is {which!r}", code="F635")
    return found


def identify(conn: psycopg.Connection[Any], secret: str, tenant: str | None = None) -> Identity:
    """Who calls with this API key. tenant: the slug or id of the one to act in.

    Raises Unauthenticated F604 for a key that is not good, Forbidden F605 for a tenant that the
    user is no member of, or that the key is not for.
    """
    asked = tenant or ""
    params = {"key": digest(secret), "slug": asked, "id": as_id(asked)}
    rows = db.run(conn, SQL["by_key"], params)
    if not rows:
        raise Unauthenticated(text("this key is unknown, expired or revoked"))
    id, user, roles, scope, time_zone, language, bound, acts_in, member = rows[0]
    if (tenant or bound) and (member is None or bound not in (None, acts_in)):
        raise Forbidden(text("this identity may not do this here"))
    return Identity(
        user=str(user),
        roles=held(roles, member, scope),
        tenant=acts_in,
        time_zone=time_zone,
        language=language,
        via=VIA,
        credential=f"{CREDENTIAL}{id}",
    )


def renewed(conn: psycopg.Connection[Any], identity: Identity) -> Identity | None:
    """What an identity of `identify` is by now; None where its key is not good any more, or the
    user has left the tenant.
    """
    id = identity.credential.removeprefix(CREDENTIAL)
    params = {"id": id, "tenant": identity.tenant}
    return updated(identity, db.run(conn, SQL["by_now"], params))
