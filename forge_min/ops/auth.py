"""auth: users, roles, keys, passwords and tenants, from a terminal."""

from __future__ import annotations

import argparse
import difflib
import getpass
import sys
import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .. import db
from ..auth import SYSTEM, accounts, administration, as_identity, credentials, signing
from ..config import LONGEST, parse_duration
from ..errors import UsageError
from ..html import reset_path
from .console import print_result
from .project import Project

Result = tuple[object, Iterable[str]]
"""What `print_result` takes: the object for JSON, and the lines of text."""


def manage_accounts(project: Project, args: argparse.Namespace) -> int:
    """Run the subcommand `args.does` on `args.of`.

    Raises UsageError, and the errors of `auth`.
    """
    with db.connect(project.config.database.url, application_name="forge_min auth") as conn:
        with as_identity(SYSTEM), db.transaction(conn):
            answer, lines = _COMMANDS[args.does](conn, args, project)
    # After the commit, so that a key is never shown unless it was stored.
    print_result(answer, lines, as_json=args.json)
    return 0


def _create_user(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    (email,) = _of(args, "an email")
    _check_known(args.role, project)
    id, _, _ = administration.Administrator(conn).invite(email, args.name, args.role)
    if args.password:
        _set_password(conn, accounts.find_user(conn, email), project)
    return {"id": str(id), "email": email.lower()}, [f"{id}  {email.lower()}"]


def _list_users(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    _of(args, "no argument; --tenant lists its members", least=0, most=0)
    tenant = _tenant(conn, args)
    users = accounts.list_users(conn, tenant and tenant.id)
    lines = (
        f"{user.id}  {'disabled' if user.disabled else 'enabled':8}  {user.email}"
        f"  roles: {_join_roles(user.roles)}"
        + "".join(f"  in {slug}: {_join_roles(roles)}" for slug, roles in tenants.items())
        for user, tenants in users
    )
    return [{**user._asdict(), "tenants": tenants} for user, tenants in users], lines


def _disable(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    user, disabled = _user(conn, args), args.does == "disable"
    administration.Administrator(conn).set_disabled(user.id, disabled)
    done = "is disabled: it cannot sign in, and its keys are rejected" if disabled else "is enabled"
    return {"email": user.email, "disabled": disabled}, [f"{user.email} {done}"]


def _set_time_zone(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    email, zone = _of(args, "the email of a user, and a time zone", least=2, most=2)
    known = zoneinfo.available_timezones()
    if zone not in known:
        near = difflib.get_close_matches(zone[:100], known, n=1)
        hint = f"did you mean {near[0]}?" if near else "use an IANA name such as Europe/Berlin"
        missing = "no time zones are installed: install the package tzdata"
        raise UsageError(f"unknown time zone {zone!r}", hint=hint if known else missing)
    user = accounts.find_user(conn, email)
    accounts.change_settings(conn, user.id, zone, user.language)
    return {"email": user.email, "time_zone": zone}, [f"{user.email}: {zone}"]


def _list_tenants(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    _of(args, "no argument", least=0, most=0)
    rows = accounts.list_tenants(conn)
    lines = (f"{row.id}  {row.slug}  {members} members  {row.name}" for row, members in rows)
    return [{**row._asdict(), "members": members} for row, members in rows], lines


def _create_tenant(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    (slug,) = _of(args, "a slug")
    id = administration.Administrator(conn).create_tenant(slug, args.name)
    return {"id": str(id), "slug": slug}, [f"{id}  {slug}"]


def _create_key(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    user, tenant = _user(conn, args), _tenant(conn, args)
    lifetime = None
    if args.lifetime:
        lifetime = parse_duration(args.lifetime)
        if not lifetime or lifetime > LONGEST:  # Python cannot represent every later date
            message = f"--lifetime {args.lifetime} is not a time of at most 3650d"
            hint = "use for example 90d; omit it if the key shall not expire"
            raise UsageError(message, hint=hint)
    _check_known(args.role, project)
    roles = args.role or None
    secret = administration.Administrator(conn).create_key(
        user.id, args.name, roles=roles, tenant=tenant, lifetime=lifetime
    )
    lines = [secret, "The key is shown only once. Send it as: Authorization: Bearer <key>"]
    return {"key": secret}, lines


def _list_keys(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    keys = credentials.list_keys(conn, _user(conn, args).id)
    lines = (
        f"{key.hint}  {_state(key):8}"
        f"  roles: {'all' if key.roles is None else _join_roles(key.roles)}"
        f"  tenant: {key.tenant or 'any'}  {key.name}"
        for key in keys
    )
    return [key._asdict() for key in keys], lines


def _revoke_key(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    (name,) = _of(args, "a key's id or its first characters")
    count = administration.Administrator(conn).revoke_keys(name)
    return {"revoked": count}, [f"revoked: {name}"]


def _grant(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    email, *roles = _of(args, "the email of a user, and roles", least=1, most=100)
    if not roles and not args.tenant:
        raise UsageError(f"auth {args.does} needs roles, or --tenant", hint="auth grant a@b admin")
    if args.does == "grant":  # a role that auth.roles no longer names can still be revoked
        _check_known(roles, project)
    user, tenant = accounts.find_user(conn, email), _tenant(conn, args)
    admin = administration.Administrator(conn)
    if args.does == "revoke" and not roles and tenant is not None:
        admin.remove_member(user.id, tenant)
        line = f"{user.email} is no longer a member of {args.tenant}"
        return {"email": user.email, "left": args.tenant}, [line]
    change = {"grant" if args.does == "grant" else "revoke": roles}
    remaining = admin.change_roles(user.id, tenant, **change)
    line = f"{user.email} in {args.tenant or 'every tenant'}: {_join_roles(remaining)}"
    return {"email": user.email, "tenant": args.tenant or None, "roles": remaining}, [line]


def _reset_password(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    user = _user(conn, args)
    if args.set:
        _set_password(conn, user, project)
        return {"email": user.email}, [f"{user.email} has a new password"]
    path = reset_path(administration.Administrator(conn).create_reset(user.id))
    minutes = int(signing.RESET // 60)
    lines = [path, f"Valid once, for {minutes} minutes, to set a new password of {user.email}."]
    return {"email": user.email, "path": path}, lines


def _set_password(conn: db.Connection, user: accounts.User, project: Project) -> None:
    """Set a password that is read from the terminal, twice, or from the first line of stdin."""
    if sys.stdin.isatty():
        password = getpass.getpass("password: ")
        if getpass.getpass("again: ") != password:
            raise UsageError("the two passwords differ", hint="try again")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    min_length = project.config.auth.password_min_length
    administration.Administrator(conn).set_password(user, password, min_length)


def _user(conn: db.Connection, args: argparse.Namespace) -> accounts.User:
    (email,) = _of(args, "the email of a user")
    return accounts.find_user(conn, email)


def _tenant(conn: db.Connection, args: argparse.Namespace) -> accounts.Tenant | None:
    return accounts.find_tenant(conn, args.tenant) if args.tenant else None


def _of(args: argparse.Namespace, what: str, *, least: int = 1, most: int = 1) -> list[str]:
    if not least <= len(args.of) <= most:
        raise UsageError(f"auth {args.does} needs {what}", hint="auth --help shows an example")
    return list(args.of)


def _check_known(roles: Sequence[str], project: Project) -> None:
    """Reject roles that auth.roles does not name, if it names any."""
    known = project.config.auth.roles
    for role in roles:
        if known and role not in known:
            hint = f"auth.roles has: {', '.join(known)}"
            raise UsageError(f"unknown role {role!r}", hint=hint)


def _state(key: credentials.ApiKey) -> str:
    if key.revoked_at:
        return "revoked"
    expired = key.expires_at is not None and key.expires_at <= datetime.now(UTC)
    return "expired" if expired else "valid"


def _join_roles(roles: Any) -> str:
    return ", ".join(roles) or "none"


_COMMANDS: Mapping[str, Callable[[db.Connection, argparse.Namespace, Project], Result]] = {
    "create-user": _create_user,
    "list-users": _list_users,
    "disable": _disable,
    "enable": _disable,
    "set-time-zone": _set_time_zone,
    "create-tenant": _create_tenant,
    "list-tenants": _list_tenants,
    "create-key": _create_key,
    "keys": _list_keys,
    "revoke-key": _revoke_key,
    "grant": _grant,
    "revoke": _grant,
    "reset-password": _reset_password,
}
