"""auth: users, roles, keys, passwords and tenants, from a terminal."""

from __future__ import annotations

import difflib
import getpass
import sys
import zoneinfo
from argparse import Namespace
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


def manage_accounts(project: Project, args: Namespace) -> int:
    """Run the subcommand `args.does` on `args.of`.

    Raises UsageError, and the errors of `auth`.
    """
    with db.connect(project.config.database.url, application_name="forge_min auth") as conn:
        with as_identity(SYSTEM), db.transaction(conn):
            answer, lines = _COMMANDS[args.does](conn, args, project)
    # After the commit, so that a key is never shown unless it was stored.
    print_result(answer, lines, as_json=args.json)
    return 0


def _create_user(conn: db.Connection, args: Namespace, project: Project) -> Result:
    (email,) = _of(args, "an email")
    _check_known(args.role, project)
    id, _, _ = administration.Administrator(conn).invite(email, args.name, args.role)
    if args.password:
        _set_password(conn, accounts.find_user(conn, email), project)
    return {"id": str(id), "email": email.lower()}, [f"{id}  {email.lower()}"]


def _list_users(conn: db.Connection, args: Namespace, project: Project) -> Result:
    _of(args, "no argument; --tenant lists its members", least=0, most=0)
    tenant = _tenant(conn, args)
    users = accounts.list_users(conn, tenant and tenant.id)
    rows = []
    lines = []
    for user, tenants in users:
        rows.append({**user._asdict(), "tenants": tenants})
        state = "disabled" if user.disabled else "enabled"
        line = f"{user.id}  {state:8}  {user.email}  roles: {_join_roles(user.roles)}"
        for slug, roles in tenants.items():
            line += f"  in {slug}: {_join_roles(roles)}"
        lines.append(line)
    return rows, lines


def _disable(conn: db.Connection, args: Namespace, project: Project) -> Result:
    user = _user(conn, args)
    disabled = args.does == "disable"
    administration.Administrator(conn).set_disabled(user.id, disabled)
    line = f"{user.email} is enabled"
    if disabled:
        line = f"{user.email} is disabled: it cannot sign in, and its keys are rejected"
    return {"email": user.email, "disabled": disabled}, [line]


def _set_time_zone(conn: db.Connection, args: Namespace, project: Project) -> Result:
    email, zone = _of(args, "the email of a user, and a time zone", least=2, most=2)
    zones = zoneinfo.available_timezones()
    if zone not in zones:
        hint = "use an IANA name such as Europe/Berlin"
        for name in difflib.get_close_matches(zone[:100], zones, n=1):
            hint = f"did you mean {name}?"
        if not zones:
            hint = "no time zones are installed: install the package tzdata"
        raise UsageError(f"unknown time zone {zone!r}", hint=hint)
    user = accounts.find_user(conn, email)
    accounts.change_settings(conn, user.id, zone, user.language)
    return {"email": user.email, "time_zone": zone}, [f"{user.email}: {zone}"]


def _list_tenants(conn: db.Connection, args: Namespace, project: Project) -> Result:
    _of(args, "no argument", least=0, most=0)
    tenants = accounts.list_tenants(conn)
    lines = (f"{row.id}  {row.slug}  {members} members  {row.name}" for row, members in tenants)
    return [{**row._asdict(), "members": members} for row, members in tenants], lines


def _create_tenant(conn: db.Connection, args: Namespace, project: Project) -> Result:
    (slug,) = _of(args, "a slug")
    id = administration.Administrator(conn).create_tenant(slug, args.name)
    return {"id": str(id), "slug": slug}, [f"{id}  {slug}"]


def _create_key(conn: db.Connection, args: Namespace, project: Project) -> Result:
    user = _user(conn, args)
    tenant = _tenant(conn, args)
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


def _list_keys(conn: db.Connection, args: Namespace, project: Project) -> Result:
    keys = credentials.list_keys(conn, _user(conn, args).id)
    return [key._asdict() for key in keys], map(_key_line, keys)


def _key_line(key: credentials.ApiKey) -> str:
    roles = "all" if key.roles is None else _join_roles(key.roles)
    tenant = key.tenant or "any"
    return f"{key.hint}  {_state(key):8}  roles: {roles}  tenant: {tenant}  {key.name}"


def _revoke_key(conn: db.Connection, args: Namespace, project: Project) -> Result:
    (name,) = _of(args, "a key's id or its first characters")
    count = administration.Administrator(conn).revoke_keys(name)
    return {"revoked": count}, [f"revoked: {name}"]


def _grant(conn: db.Connection, args: Namespace, project: Project) -> Result:
    email, *roles = _of(args, "the email of a user, and roles", least=1, most=100)
    if not roles and not args.tenant:
        raise UsageError(f"auth {args.does} needs roles, or --tenant", hint="auth grant a@b admin")
    if args.does == "grant":  # a role that auth.roles no longer names can still be revoked
        _check_known(roles, project)
    user = accounts.find_user(conn, email)
    tenant = _tenant(conn, args)
    admin = administration.Administrator(conn)
    if args.does == "revoke" and not roles and tenant is not None:
        admin.remove_member(user.id, tenant)
        line = f"{user.email} is no longer a member of {args.tenant}"
        return {"email": user.email, "left": args.tenant}, [line]
    remaining = admin.change_roles(user.id, tenant, **{args.does: roles})
    line = f"{user.email} in {args.tenant or 'every tenant'}: {_join_roles(remaining)}"
    return {"email": user.email, "tenant": args.tenant or None, "roles": remaining}, [line]


def _reset_password(conn: db.Connection, args: Namespace, project: Project) -> Result:
    user = _user(conn, args)
    if args.set:
        _set_password(conn, user, project)
        return {"email": user.email}, [f"{user.email} has a new password"]
    token = administration.Administrator(conn).create_reset(user.id)
    path = reset_path(token)
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


def _user(conn: db.Connection, args: Namespace) -> accounts.User:
    (email,) = _of(args, "the email of a user")
    return accounts.find_user(conn, email)


def _tenant(conn: db.Connection, args: Namespace) -> accounts.Tenant | None:
    if not args.tenant:
        return None
    return accounts.find_tenant(conn, args.tenant)


def _of(args: Namespace, what: str, *, least: int = 1, most: int = 1) -> list[str]:
    if not least <= len(args.of) <= most:
        raise UsageError(f"auth {args.does} needs {what}", hint="auth --help shows an example")
    return list(args.of)


def _check_known(roles: Sequence[str], project: Project) -> None:
    """Reject roles that auth.roles does not name, if it names any."""
    names = project.config.auth.roles
    for role in roles:
        if names and role not in names:
            hint = f"auth.roles has: {', '.join(names)}"
            raise UsageError(f"unknown role {role!r}", hint=hint)


def _state(key: credentials.ApiKey) -> str:
    if key.revoked_at:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return "expired"
    return "valid"


def _join_roles(roles: Any) -> str:
    return ", ".join(roles) or "none"


_COMMANDS: Mapping[str, Callable[[db.Connection, Namespace, Project], Result]] = {
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
