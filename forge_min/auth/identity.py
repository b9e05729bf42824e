"""The identity that an action runs under, and the one question asked of it: does it have this role?

It lies in a context variable, so each request thread, job thread and nested `as_identity` has its
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

from ..errors import Forbidden, Unauthenticated


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, or nobody. user: a stable id, "" for nobody. tenant: the tenant acted in, or
    None.
    """

    user: str = ""
    roles: frozenset[str] = frozenset()
    tenant: UUID | None = None


ANONYMOUS = Identity()

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
    named).

    Raises Unauthenticated for nobody, Forbidden for somebody without a fitting role.
    """
    identity = _current.get()
    if not identity.user:
        raise Unauthenticated("this needs an identity")
    if roles and identity.roles.isdisjoint(roles):
        raise Forbidden(f"this needs the role {' or '.join(roles)}")
    return identity
