"""Credentials: API keys and sessions, the secrets that identify a user.

A secret is shown once. Its SHA-256 is stored, which is enough for 256 random bits. Each sign-in
starts a session; a cookie holds its secret. The session ends when it expires, after
`auth.idle_timeout` without a request, when its user signs out there or everywhere, at another
sign-in in the same browser, with a new password, or when the account is disabled.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .. import db
from ..errors import Forbidden, NotFound, Unauthenticated, Unavailable
from ..i18n import text
from .accounts import SQL, Connection, as_id, check_name, checked_roles, execute
from .identity import SESSION, Identity, current_identity

KEY = "fmk_"
"""The prefix of every API key, by which scanners find a key committed to a repository."""
HINT = len(KEY) + 6  # characters of a key that are shown, to distinguish keys
_VIA = {"key": "api_key", "session": SESSION}  # Identity.via by the kind of credential


class ApiKey(NamedTuple):
    """An API key in a list.

    roles: those of the user's roles that the key may use; None for all.
    tenant: the slug of the tenant to which it is restricted, if any.
    """

    id: UUID
    hint: str
    name: str
    roles: Sequence[str] | None
    tenant: str | None
    created_at: datetime
    seen_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    user: UUID
    email: str


class Session(NamedTuple):
    """A session in a list.

    address, agent: the address and User-Agent of the client at the start.
    """

    id: UUID
    address: str
    agent: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


class SessionUse(NamedTuple):
    """How a request uses its session.

    lifetime: of sessions, in seconds.
    idle_timeout: seconds without a request after which a session ends, at most a minute late; 0:
        none.
    is_background: whether a script sent the request without its user, so that it does not count.
    """

    lifetime: float = 0.0
    idle_timeout: float = 0.0
    is_background: bool = False


class Browser(NamedTuple):
    """The browser that signs in.

    address, agent: its address and User-Agent, for the user's list of sessions.
    before: the secret of its previous session, which ends: a user must not continue a session that
        another user started (session fixation).
    """

    address: str = ""
    agent: str = ""
    before: str = ""


def digest(secret: str) -> bytes:
    """Return the stored form of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def create_key(
    conn: Connection,
    user: UUID,
    *,
    name: str = "",
    roles: Sequence[str] | None = None,
    tenant: UUID | None = None,
    lifetime: float | None = None,
) -> str:
    """Create an API key. Returns its secret, which is not stored.

    roles: those of the user's roles that the key has; None for all that the user has at the time of
        use.
    tenant: the only tenant in which the key acts, if any.
    lifetime: seconds; None means that it does not expire.

    Raises Invalid F631 for a malformed role.
    """
    if roles is not None:
        roles = checked_roles(roles)
    check_name(name)
    secret = f"{KEY}{secrets.token_urlsafe(32)}"
    execute(
        conn,
        "create_key",
        key=digest(secret),
        hint=secret[:HINT],
        user=user,
        tenant=tenant,
        name=name,
        roles=roles,
        seconds=lifetime,
    )
    return secret


def list_keys(
    conn: Connection,
    user: UUID | None,
    tenant: UUID | None = None,
    after: UUID | None = None,
    limit: int | None = None,
) -> list[ApiKey]:
    """Return keys, the oldest first.

    user: the owner, None for the keys of all users that are not revoked.
    tenant: only those of its members that are restricted to it.
    after: the last key of the previous page.
    limit: the number of keys, None for all.
    """
    rows = execute(conn, "keys", user=user, tenant=tenant, after=after, limit=limit)
    return [ApiKey(*row) for row in rows]


def revoke_keys(
    conn: Connection, hint_or_id: str, tenant: UUID | None = None
) -> list[tuple[UUID, str, str | None]]:
    """Revoke the key of an id, or all keys with a hint.

    tenant: only those of its members that are restricted to it.

    Returns the user, the hint and the tenant of each. Raises NotFound F633 if no valid key matches.
    """
    hint = hint_or_id.replace("\0", "")
    revoked = execute(conn, "revoke_key", hint=hint, id=as_id(hint_or_id), tenant=tenant)
    if not revoked:
        raise NotFound(f"no valid key matches {hint_or_id!r}", code="F633")
    return revoked


def count_keys(conn: Connection, user: UUID) -> int:
    """Return the number of keys of a user that are not revoked."""
    valid = [key for key in list_keys(conn, user) if not key.revoked_at]
    return len(valid)


def revoke_all_keys(conn: Connection, user: UUID) -> None:
    """Revoke all keys of a user, as the user, which the history of the user shows."""
    execute(conn, "revoke_all_keys", user=user)


def start_session(conn: Connection, user: UUID, lifetime: float, browser: Browser) -> str:
    """Start a session of `lifetime` seconds, and add that to the history. Returns its secret."""
    secret = secrets.token_urlsafe(32)
    address = browser.address[:100]
    agent = browser.agent[:300]
    before = digest(browser.before)
    execute(
        conn,
        "start_session",
        key=digest(secret),
        user=user,
        seconds=lifetime,
        address=address,
        agent=agent,
        before=before,
    )
    return secret


def list_sessions(conn: Connection, user: UUID) -> list[Session]:
    """Return the user's sessions, the newest first."""
    rows = execute(conn, "sessions", user=user)
    return [Session(*row) for row in rows]


def end_sessions(
    conn: Connection, user: UUID, id: UUID | None = None, *, but: UUID | None = None
) -> int:
    """End sessions of a user, and add that to the history. Returns their number.

    id: the session to end; None for all.
    but: a session that does not end.
    """
    actor = current_identity().user
    ended = execute(conn, "end_sessions", user=user, id=id, but=but, actor=actor)
    return len(ended)


def session_id(identity: Identity) -> UUID | None:
    """Return the session that identified a user, None for another credential."""
    kind, _, id = identity.credential.partition(":")
    if kind != "session":
        return None
    return UUID(id)


def identify_key(conn: Connection, secret: str, tenant: str | None = None) -> Identity:
    """Return the identity of an API key.

    tenant: the slug or id of the tenant to act in; None for that of the key, if any.

    Raises Unauthenticated F604 for a key that is not valid, Forbidden F605 for a tenant of which
    the user is not a member, or for which the key is not valid.
    """
    identity = _identify(conn, "key", secret, tenant)
    if identity is None:
        raise Unauthenticated(text("this key is unknown, expired or revoked"))
    return identity


def identify_session(
    conn: Connection,
    secret: str,
    tenant: str | None = None,
    allow_non_member: bool = False,
    use: SessionUse | None = None,
) -> Identity | None:
    """Return the identity of a session, None if the session has ended.

    tenant: as in `identify_key`.
    allow_non_member: if the user is not a member of the tenant, return an identity without a tenant
        instead of raising Forbidden F605.
    use: None if sessions have no idle timeout.
    """
    return _identify(conn, "session", secret, tenant, allow_non_member, use)


def renewed(conn: Connection, identity: Identity) -> Identity | None:
    """Return an identity with its present roles, time zone and language.

    Returns None if its key or session is not valid any more, or the user has left the tenant. An
    identity without a key or session is returned as it is.
    """
    kind, _, id = identity.credential.partition(":")
    if kind not in _VIA:
        return identity
    rows = execute(conn, f"{kind}_by_now", id=id, tenant=identity.tenant)
    if not rows:
        return None
    roles, scope, time_zone, language, member = rows[0]
    if identity.tenant is not None and member is None:
        return None
    roles = _effective_roles(roles, member, scope)
    return replace(identity, roles=roles, time_zone=time_zone, language=language)


def _identify(
    conn: Connection,
    kind: str,
    secret: str,
    tenant: str | None,
    allow_non_member: bool = False,
    use: SessionUse | None = None,
) -> Identity | None:
    use = use or SessionUse()
    limits = use._asdict()
    slug = tenant or ""
    params = {"key": digest(secret), "slug": slug, "id": as_id(slug)}
    rows = db.read(conn, SQL[f"by_{kind}"], params | limits)
    if not rows:
        return None
    id, user, name, roles, scope, time_zone, language, bound, acts_in, member, is_due = rows[0]
    if is_due:
        with suppress(Unavailable):  # such as on a read-only server
            execute(conn, f"{kind}_seen", id=id, **limits)
    is_refused = False
    if tenant or bound:
        # The user must be a member of the tenant, and a key for one tenant acts in no other.
        is_refused = member is None or bound not in (None, acts_in)
    if is_refused and not allow_non_member:
        raise Forbidden(text("this identity may not do this here"))
    if member is None:
        acts_in = None
    return Identity(
        user=str(user),
        name=name,
        roles=_effective_roles(roles, member, scope),
        tenant=acts_in,
        time_zone=time_zone,
        language=language,
        via=_VIA[kind],
        credential=f"{kind}:{id}",
    )


def _effective_roles(
    roles: Sequence[str], member: Sequence[str] | None, scope: Sequence[str] | None
) -> frozenset[str]:
    """The roles of the user and of the membership, restricted to `scope` unless it is None."""
    granted = frozenset(roles).union(member or ())
    if scope is None:
        return granted
    return granted.intersection(scope)
