"""The identity that an action runs under, and the one question asked of it: does it have this role?

It lies in a context variable, so each request thread, job thread and nested `as_identity` has its
own.
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
    """Somebody, or nobody. user: a stable id, "" for nobody. tenant: the tenant acted in, or
    None.

    system: no person but the system itself (a job, an operator at a terminal): it passes every
    rule about roles, never one about tenants. time_zone: an IANA name, for what is shown. language:
    a BCP 47 tag, "" = what the request asks for. via: how it is known: "api_key", "session", a
    word of your own; "" for nobody and for what no request began. credential: which of them:
    "key:" and the id of an API key, "session:" and that of a session. name: what people call it.
    """

    user: str = ""
    roles: frozenset[str] = frozenset()
    tenant: UUID | None = None
    system: bool = False
    time_zone: str = "UTC"
    language: str = ""
    via: str = ""
    credential: str = ""
    name: str = ""

    def has_one_of(self, roles: Iterable[str]) -> bool:
        """Whether it may do what needs one of `roles`; the system may always."""
        return self.system or not self.roles.isdisjoint(roles)


Renew = Callable[[Identity], Identity | None]
"""What an identity is by now; None when it is signed out, revoked or expired."""

SESSION = "session"
"""What `via` says of somebody who is known by a cookie."""
ANONYMOUS = Identity()
SYSTEM = Identity(user="system", system=True)

_current: ContextVar[Identity] = ContextVar("forge_identity", default=ANONYMOUS)


def current_identity() -> Identity:
    """The identity of this context; ANONYMOUS when nobody was set."""
    return _current.get()


@contextmanager
def as_identity(identity: Identity) -> Iterator[Identity]:
    """Run the block as `identity`, then become who we were before."""
    token = _current.set(identity)
    try:
        yield identity
    finally:
        _current.reset(token)


def require(*roles: str) -> Identity:
    """The current identity, when it is somebody and has one of `roles` (any role when none is
    named), or is the system.

    Raises Unauthenticated for nobody, Forbidden for somebody without a fitting role.
    """
    identity = _current.get()
    if not identity.user and not identity.system:
        raise Unauthenticated(text("this needs an identity"))
    return require_one_of(roles) if roles else identity


def require_one_of(roles: Iterable[str]) -> Identity:
    """As `require`; of no roles nobody has one but the system."""
    identity = require()
    if not identity.has_one_of(roles):
        raise Forbidden(text("this identity may not do this here"))
    return identity


def to_metadata(identity: Identity) -> dict[str, str]:
    """What a job keeps of who caused it: {"user", "tenant"}, without what is empty."""
    kept = {"user": identity.user, "tenant": str(identity.tenant or "")}
    return {name: value for name, value in kept.items() if value}


def for_job(metadata: Mapping[str, Any]) -> Identity:
    """Who a job runs as: the system, in the name and the tenant of who caused it.

    metadata: as `to_metadata` gives, and more. Raises ValueError for a tenant that is no UUID.
    """
    tenant = metadata.get("tenant")
    return Identity(
        user=str(metadata.get("user") or SYSTEM.user),
        tenant=UUID(str(tenant)) if tenant else None,
        system=True,
    )
