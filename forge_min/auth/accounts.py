"""Users, tenants and memberships, for operators' commands, sign-in and the account pages.

Everything runs in the caller's transaction, with a role that may write the forge_ tables.
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
from .identity import current_identity

Connection = psycopg.Connection[Any]
SQL = db.load_sql("forge_min.auth", "auth.sql")
_EMAIL = lazy_pattern(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")
_SLUG = lazy_pattern(r"[a-z0-9]+(?:-[a-z0-9]+)*")  # a DNS label (RFC 1123, section 2.1)
_ROLE = lazy_pattern(r"[A-Za-z][A-Za-z0-9_.:-]{0,62}")


class User(NamedTuple):
    """One account.

    roles: those that it has in every tenant.
    """

    id: UUID
    email: str
    name: str
    roles: Sequence[str]
    time_zone: str
    language: str
    disabled: bool


class Tenant(NamedTuple):
    """One tenant.

    slug: its name in URLs.
    """

    id: UUID
    slug: str
    name: str


def execute(conn: Connection, statement: str, /, **params: object) -> list[tuple[Any, ...]]:
    """Run the statement of this name in auth.sql. Returns its rows."""
    return db.run(conn, SQL[statement], params or None)


def check_email(email: str) -> None:
    """Raise Invalid F631 unless the text is an email address."""
    if len(email.lower()) > 254 or not _EMAIL.fullmatch(email):  # RFC 5321, section 4.5.3.1
        raise _invalid("/email", text("is not an email address"))


def check_name(name: str) -> None:
    """Raise Invalid F631 for a name with more than 200 characters or a NUL."""
    if len(name) > 200 or "\0" in name:
        raise _invalid("/name", text("has more than 200 characters, or a NUL"))


def create_user(conn: Connection, email: str, *, name: str = "", roles: Sequence[str] = ()) -> UUID:
    """Create an account. Returns its id.

    Raises Invalid F631 for a malformed email or role; Conflict F602 if the email has an
    account already.
    """
    check_email(email)
    check_name(name)
    # In lower case here, as at sign-in: the database's result for "İ" depends on its locale.
    address = email.lower()
    rows = execute(conn, "create_user", email=address, name=name, roles=checked_roles(roles))
    return _created(rows, f"{email} has an account already")


def find_user(conn: Connection, email_or_id: str) -> User:
    """Return the user of an email or id. Raises NotFound F633."""
    rows = execute(conn, "user", email=email_or_id.lower(), id=as_id(email_or_id))
    if not rows:
        hint = "auth list-users shows all"
        raise NotFound(f"user {email_or_id!r} not found", code="F633", hint=hint)
    return User(*rows[0])


def list_users(
    conn: Connection,
    tenant: UUID | None = None,
    *,
    id: UUID | None = None,
    words: str = "",
    after: str = "",
    limit: int | None = None,
) -> list[tuple[User, dict[str, list[str]]]]:
    """Return users by email, each with its roles by the slug of a tenant.

    tenant: return only its members.
    id: return only this user.
    words: part of the email or name, in any case.
    after: return only later emails.
    limit: the number of users, None for all.
    """
    words = words.replace("\0", "")
    after = after.replace("\0", "")
    rows = execute(conn, "users", tenant=tenant, id=id, words=words, after=after, limit=limit)
    return [(User(*user), roles) for *user, roles in rows]


def list_tenants(conn: Connection) -> list[tuple[Tenant, int]]:
    """Return all tenants by slug, each with the number of its members."""
    rows = execute(conn, "tenants")
    return [(Tenant(*tenant), members) for *tenant, members in rows]


def change_settings(conn: Connection, user: UUID, time_zone: str, language: str) -> None:
    """Set how pages are shown to the user. The caller has checked the values.

    time_zone: an IANA name; "" for that of the project.
    language: a BCP 47 tag; "" for that of the browser.
    """
    execute(conn, "change_settings", user=user, time_zone=time_zone, language=language)


def list_memberships(conn: Connection, user: UUID) -> list[Tenant]:
    """Return the tenants of which the user is a member, by slug."""
    rows = execute(conn, "memberships", user=user)
    return [Tenant(*row) for row in rows]


def grant(
    conn: Connection, user: UUID, roles: Sequence[str], tenant: UUID | None = None
) -> tuple[str, ...]:
    """Grant roles. Returns all roles that the user then has there.

    tenant: where the roles apply; the user becomes a member. None means everywhere.

    Raises Invalid F631 for a malformed role.
    """
    return _change(conn, "grant", user, checked_roles(roles), tenant)


def ungrant(
    conn: Connection, user: UUID, roles: Sequence[str], tenant: UUID | None = None
) -> tuple[str, ...]:
    """Revoke roles. Returns those that remain there.

    Raises NotFound F633 unless the user is a member of the tenant.
    """
    return _change(conn, "ungrant", user, checked_roles(roles), tenant)


def leave(conn: Connection, user: UUID, tenant: UUID) -> None:
    """End a membership. Raises NotFound F633 unless the user is a member."""
    rows = execute(conn, "leave", user=user, tenant=tenant)
    if not rows:
        raise _not_a_member()


def create_tenant(conn: Connection, slug: str, name: str = "") -> UUID:
    """Create a tenant. Returns its id.

    Raises Invalid F631 for a slug that cannot be part of a URL, Conflict F602 if the slug is taken.
    """
    if len(slug) > 63 or not _SLUG.fullmatch(slug) or as_id(slug):
        rule = text("must be lower-case letters and digits, joined by single -, and not a UUID")
        raise _invalid("/slug", rule)
    check_name(name)
    rows = execute(conn, "create_tenant", slug=slug, name=name)
    return _created(rows, f"tenant {slug} exists already")


def find_tenant(conn: Connection, slug_or_id: str) -> Tenant:
    """Return the tenant of a slug or id. Raises NotFound F633."""
    rows = execute(conn, "tenant", slug=slug_or_id, id=as_id(slug_or_id))
    if not rows:
        hint = "auth list-tenants shows all"
        raise NotFound(f"tenant {slug_or_id!r} not found", code="F633", hint=hint)
    return Tenant(*rows[0])


def record_export(conn: Connection, topic: str) -> None:
    """Add an export of rows to the history of the current user. Not for anonymous users.

    topic: of the resource.
    """
    user = current_identity().user
    if not user:
        return  # nothing is written, so it works on a read-only server too
    token = db.consistency.set(None)  # after a write of the request, no standby reads the rows
    try:
        execute(conn, "record_export", user=user, topic=topic)
    finally:
        db.consistency.reset(token)


def as_id(text: str) -> UUID | None:
    """Return the id that a text spells, None for another text."""
    try:
        return UUID(text)
    except ValueError:
        return None


def checked_roles(roles: Sequence[str]) -> list[str]:
    """Return the roles in order, each once. Raises Invalid F631 for a malformed role."""
    for role in roles:
        if not _ROLE.fullmatch(role):
            why = text("{role} is not a role name", role=repr(role))
            raise _invalid("/roles", why)
    return sorted(set(roles))


def _created(rows: Sequence[tuple[Any, ...]], otherwise: str) -> UUID:
    if not rows:
        raise Conflict(otherwise)
    return UUID(str(rows[0][0]))


def _change(
    conn: Connection, verb: str, user: UUID, roles: list[str], tenant: UUID | None
) -> tuple[str, ...]:
    statement = f"{verb}_member"
    if tenant is None:
        statement = f"{verb}_user"
    rows = execute(conn, statement, user=user, roles=roles, tenant=tenant)
    if not rows:
        raise _not_a_member()
    return tuple(rows[0][0])


def _not_a_member() -> NotFound:
    return NotFound("the user is not a member of this tenant", code="F633")


def _invalid(pointer: str, why: str) -> Invalid:
    error = FieldError(pointer, "invalid", why)
    return Invalid([error], f"{pointer[1:]} {why}", code="F631")
