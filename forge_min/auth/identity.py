"""The identity under which an action runs, and the check of its roles.

It is a context variable, so each request thread, job thread and nested `as_identity` has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ..errors import Forbidden, Unauthenticated
from ..i18n import text


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, an anonymous user or the system, as the caller of actions.

    user: a stable id, "" for an anonymous user.
    roles: the names of its roles.
    tenant: the id of the tenant in which it acts, None for no tenant.
    system: whether it is the system itself (a job, an operator at a terminal), which passes every
        rule about roles, but is bound by the rules about tenants.
    time_zone: an IANA name, for the display of times; "" for `project.time_zone`.
    language: a BCP 47 tag, "" for the language that the request asks for.
    via: how it was identified: "api_key", "session" or a word of the project; "" for an anonymous
        user, and outside of a request.
    credential: "key:" and the id of an API key, or "session:" and the id of a session.
    name: the display name.
    """

    user: str = ""
    roles: frozenset[str] = frozenset()
    tenant: UUID | None = None
    system: bool = False
    time_zone: str = ""
    language: str = ""
    via: str = ""
    credential: str = ""
    name: str = ""

    def has_one_of(self, roles: Iterable[str]) -> bool:
        """Whether the identity has one of `roles`; the system has all."""
        return self.system or not self.roles.isdisjoint(roles)


Renew = Callable[[Identity], Identity | None]
"""Returns the identity as it is now; None if it is signed out, revoked or expired."""

SESSION = "session"
"""`Identity.via` of a user with a session cookie."""
ANONYMOUS = Identity()
SYSTEM = Identity(user="system", system=True)

_current: ContextVar[Identity] = ContextVar("forge_identity", default=ANONYMOUS)


def current_identity() -> Identity:
    """Return the identity of this context, ANONYMOUS by default."""
    return _current.get()


@contextmanager
def as_identity(identity: Identity) -> Iterator[Identity]:
    """Run the block as `identity`, then restore the previous identity."""
    token = _current.set(identity)
    try:
        yield identity
    finally:
        _current.reset(token)


def require(*roles: str) -> Identity:
    """Return the current identity if it is not anonymous and has one of `roles`.

    The system has all roles; without `roles`, any identity that is not anonymous passes.

    Raises Unauthenticated for an anonymous user, Forbidden for another without one of the roles.
    """
    identity = _current.get()
    if not identity.user and not identity.system:
        raise Unauthenticated(text("sign in first"))
    if not roles:
        return identity
    return require_one_of(roles)


def require_one_of(roles: Iterable[str], permission: str = "") -> Identity:
    """Check as `require`, for a collection of roles; if it is empty, only the system passes.

    permission: the name of the missing permission for the message, default: none.
    """
    identity = require()
    if not identity.has_one_of(roles):
        message = text("this identity may not do this here")
        if permission:
            message = text("this needs the permission {permission}", permission=permission)
        raise Forbidden(message)
    return identity


def to_metadata(identity: Identity) -> dict[str, str]:
    """Return {"user", "tenant"} for the metadata of a job, without empty values."""
    metadata = {}
    if identity.user:
        metadata["user"] = identity.user
    if identity.tenant:
        metadata["tenant"] = str(identity.tenant)
    return metadata


def for_job(metadata: Mapping[str, Any]) -> Identity:
    """Return the identity of a job: the system, with the user and tenant that caused the job.

    metadata: the result of `to_metadata`, perhaps with more entries.

    Raises ValueError for a tenant that is not a UUID.
    """
    user = metadata.get("user") or SYSTEM.user
    tenant = metadata.get("tenant")
    if tenant:
        tenant = UUID(str(tenant))
    return Identity(str(user), tenant=tenant or None, system=True)
