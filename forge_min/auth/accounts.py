"""People, tenants and who belongs to which: what an operator makes at a terminal, and a page later.

Everything runs in the caller's transaction, on a role that may write the forge_ tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from .. import db
from ..errors import Conflict, FieldError, Invalid, NotFound
from ..i18n import text
from ..lazy import lazy_pattern

SQL = db.load_sql("forge_min.auth", "auth.sql")
_EMAIL = lazy_pattern(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")
_SLUG = lazy_pattern(r"[a-z0-9]+(?:-[a-z0-9]+)*")  # a label of DNS too (RFC 1035, section 2.3.1)
_ROLE = lazy_pattern(r"[A-Za-z][A-Za-z0-9_.:-]{0,62}")


class User(NamedTuple):
    """One account. roles: held in every tenant."""

    id: UUID
    email: str
    name: str
    roles: tuple[str, ...]
    time_zone: str
    language: str
    disabled: bool

    @classmethod
    def of(cls, row: Sequence[Any]) -> User:
        """The user of a row that begins with these columns."""
        id, email, name, roles, *rest = row
        return cls(id, email, name, tuple(roles), *rest)


class Tenant(NamedTuple):
    """One tenant. slug: its name in addresses."""

    id: UUID
    slug: str
    name: str


def check_email(email: str) -> None:
    """Raises Invalid F631 for what is none."""
    if len(email) > 254 or not _EMAIL.fullmatch(email):  # RFC 5321, section 4.5.3.1
        raise _invalid("/email", text("is no email address"), "F631")


def create_user(
    conn: psycopg.Connection[Any],
    email: str,
    *,
    name: str = "",
    roles: Sequence[str] = (),
) -> UUID:
    """A new account; its id.

    Raises Invalid F631 for an email that is none, F632 for a role's name; Conflict F602 where the
    email has an account.
    """
    check_email(email)
    # Small here as a sign-in has it: what the database makes of "İ" depends on its locale.
    params = {"email": email.lower(), "name": name, "roles": checked_roles(roles)}
    return _made(db.run(conn, SQL["create_user"], params), f"{email} has an account already")


def find_user(conn: psycopg.Connection[Any], who: str) -> User:
    """By email or id. Raises NotFound F633."""
    small = who.lower()
    rows = db.run(conn, SQL["user"], {"email": small, "id": as_id(who)})
    if not rows and not small.isascii():  # of an account whose capitals the database made small
        rows = db.run(conn, SQL["user"], {"email": who, "id": None})
    if not rows:
        raise NotFound(f"no user is {who!r}", code="F633", hint="auth list-users shows all")
    return User.of(rows[0])


def list_users(
    conn: psycopg.Connection[Any], tenant: UUID | None = None
) -> list[tuple[User, dict[str, list[str]]]]:
    """All users by email, each with its roles by the slug of a tenant. tenant: only its members."""
    rows = db.run(conn, SQL["users"], {"tenant": tenant})
    return [(User.of(user), roles) for *user, roles in rows]


def list_tenants(conn: psycopg.Connection[Any]) -> list[tuple[Tenant, int]]:
    """All tenants by slug, each with the number of its members."""
    return [(Tenant(*row), members) for *row, members in db.run(conn, SQL["tenants"])]


def set_time_zone(conn: psycopg.Connection[Any], user: UUID, zone: str) -> None:
    """The time zone in which pages show times to the user. zone: an IANA name, checked by the
    caller.
    """
    db.run(conn, SQL["set_time_zone"], {"user": user, "zone": zone})


def grant(
    conn: psycopg.Connection[Any], user: UUID, roles: Sequence[str], tenant: UUID | None = None
) -> tuple[str, ...]:
    """Give roles: everywhere, or as a member of a tenant, which the user becomes; all roles there.

    Raises Invalid F632 for a role's name.
    """
    return _change(conn, "grant", user, checked_roles(roles), tenant)


def ungrant(
    conn: psycopg.Connection[Any], user: UUID, roles: Sequence[str], tenant: UUID | None = None
) -> tuple[str, ...]:
    """Take roles away; what is left there. Raises NotFound F634 for no member of the tenant."""
    return _change(conn, "ungrant", user, checked_roles(roles), tenant)


def leave(conn: psycopg.Connection[Any], user: UUID, tenant: UUID) -> None:
    """The user is no member any more. Raises NotFound F634 where it was none."""
    if not db.run(conn, SQL["leave"], {"user": user, "tenant": tenant}):
        raise NotFound("the user is no member of this tenant", code="F634")


def create_tenant(conn: psycopg.Connection[Any], slug: str, name: str = "") -> UUID:
    """A new tenant; its id. Raises Invalid F636 for a slug that is no name in an address, Conflict
    F602 where there is one of this slug.
    """
    if len(slug) > 63 or not _SLUG.fullmatch(slug) or as_id(slug):
        rule = text("must be lower case letters, digits and single -, and no UUID")
        raise _invalid("/slug", rule, "F636")
    rows = db.run(conn, SQL["create_tenant"], {"slug": slug, "name": name})
    return _made(rows, f"there is a tenant {slug} already")


def find_tenant(conn: psycopg.Connection[Any], which: str) -> Tenant:
    """By slug or id. Raises NotFound F634."""
    rows = db.run(conn, SQL["tenant"], {"slug": which, "id": as_id(which)})
    if not rows:
        raise NotFound(f"no tenant is {which!r}", code="F634", hint="auth list-tenants shows all")
    return Tenant(*rows[0])


def as_id(text: str) -> UUID | None:
    """The id that somebody wrote in place of a name; None for a name."""
    try:
        return UUID(text)
    except ValueError:
        return None


def checked_roles(roles: Sequence[str]) -> list[str]:
    """The roles, each once. Raises Invalid F632 for what is no name of one."""
    for role in roles:
        if not _ROLE.fullmatch(role):
            raise _invalid("/roles", text("{role} is no name of a role", role=repr(role)), "F632")
    return sorted(set(roles))


def _made(rows: Sequence[tuple[Any, ...]], otherwise: str) -> UUID:
    if not rows:
        raise Conflict(otherwise)
    return UUID(str(rows[0][0]))


def _change(
    conn: psycopg.Connection[Any], verb: str, user: UUID, roles: list[str], tenant: UUID | None
) -> tuple[str, ...]:
    name = f"{verb}_user" if tenant is None else f"{verb}_member"
    rows = db.run(conn, SQL[name], {"user": user, "roles": roles, "tenant": tenant})
    if not rows:
        raise NotFound("the user is no member of this tenant", code="F634")
    return tuple(rows[0][0])


def _invalid(pointer: str, why: str, code: str) -> Invalid:
    return Invalid([FieldError(pointer, "invalid", why)], f"{pointer[1:]} {why}", code=code)
