"""auth: users, their roles, keys and passwords, and tenants, from a terminal."""

from __future__ import annotations

import argparse
import difflib
import getpass
import sys
import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from .. import db
from ..auth import accounts, credentials, signing
from ..config import LONGEST, parse_duration
from ..errors import UsageError
from ..html import reset_path
from .console import print_result
from .project import Project

Result = tuple[object, Iterable[str]]
"""An answer as of `print_result`: the object for JSON, and the lines for a person."""


def manage_accounts(project: Project, args: argparse.Namespace) -> int:
    """Do what `args.does` says with `args.of`. Raises UsageError, and the errors of `auth`."""
    with db.connect(project.config.database.url, application_name="forge_min auth") as conn:
        with db.transaction(conn):
            answer, lines = _DOES[args.does](conn, args, project)
    print_result(
        answer, lines, as_json=args.json
    )  # committed: no key is shown that is then not there
    return 0


def _create_user(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    (email,) = _of(args, "an email")
    _check_known(args.role, project)
    id = accounts.create_user(conn, email, name=args.name, roles=args.role)
    if args.password:
        _set_password(conn, accounts.find_user(conn, email), project)
    return {"id": str(id), "email": email.lower()}, [f"{id}  {email.lower()}"]


def _list_users(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    _of(args, "no argument; --tenant lists its members", least=0, most=0)
    found = accounts.list_users(conn, _tenant(conn, args))
    lines = (
        f"{user.id}  {'disabled' if user.disabled else 'enabled':8}  {user.email}"
        f"  roles: {_listed(user.roles)}"
        + "".join(f"  in {slug}: {_listed(roles)}" for slug, roles in there.items())
        for user, there in found
    )
    return [{**user._asdict(), "tenants": there} for user, there in found], lines


def _disable(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    user, disabled = _user(conn, args), args.does == "disable"
    signing.set_disabled(conn, user.id, disabled)
    done = "is disabled: it cannot sign in, and its keys do not work" if disabled else "is enabled"
    return {"email": user.email, "disabled": disabled}, [f"{user.email} {done}"]


def _set_time_zone(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    who, zone = _of(args, "the email of a user, and a time zone", least=2, most=2)
    known = zoneinfo.available_timezones()
    if zone not in known:
        near = difflib.get_close_matches(zone[:100], known, n=1)
        hint = f"did you mean {near[0]}?" if near else "an IANA name, for example Europe/Berlin"
        missing = "no time zones are installed: install the package tzdata"
        raise UsageError(f"unknown time zone {zone!r}", hint=hint if known else missing)
    user = accounts.find_user(conn, who)
    accounts.set_time_zone(conn, user.id, zone)
    return {"email": user.email, "time_zone": zone}, [f"{user.email}: {zone}"]


def _list_tenants(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    _of(args, "no argument", least=0, most=0)
    found = accounts.list_tenants(conn)
    lines = (f"{one.id}  {one.slug}  {members} members  {one.name}" for one, members in found)
    return [{**one._asdict(), "members": members} for one, members in found], lines


def _create_tenant(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    (slug,) = _of(args, "a slug")
    id = accounts.create_tenant(conn, slug, args.name)
    return {"id": str(id), "slug": slug}, [f"{id}  {slug}"]


def _create_key(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    user, tenant = _user(conn, args), _tenant(conn, args)
    lifetime = None
    if args.lifetime:
        lifetime = parse_duration(args.lifetime)
        if not lifetime or lifetime > LONGEST:  # a later end is none that Python can read
            message = f"--lifetime {args.lifetime} is no time of at most 3650d"
            raise UsageError(message, hint="for example 90d; without it until the key is revoked")
    _check_known(args.role, project)
    secret = credentials.create_key(
        conn, user.id, name=args.name, roles=args.role or None, tenant=tenant, lifetime=lifetime
    )
    lines = [secret, "It is shown this once. Use it as: Authorization: Bearer <key>"]
    return {"key": secret}, lines


def _list_keys(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    found = credentials.list_keys(conn, _user(conn, args).id)
    lines = (
        f"{key.hint}  {_state(key):8}  roles: {'all' if key.roles is None else _listed(key.roles)}"
        f"  tenant: {key.tenant or 'any'}  {key.name}"
        for key in found
    )
    return [key._asdict() for key in found], lines


def _revoke_key(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    (which,) = _of(args, "a key's id or its first characters")
    count = credentials.revoke_key(conn, which)
    return {"revoked": count}, [f"revoked: {which}"]


def _grant(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    who, *roles = _of(args, "the email of a user, and roles", least=1, most=100)
    if not roles and not args.tenant:
        raise UsageError(f"auth {args.does} needs roles, or --tenant", hint="auth grant a@b admin")
    if args.does == "grant":  # what is there may always be taken away
        _check_known(roles, project)
    user, tenant = accounts.find_user(conn, who), _tenant(conn, args)
    if args.does == "revoke" and not roles and tenant is not None:
        accounts.leave(conn, user.id, tenant)
        return {"email": user.email, "left": args.tenant}, ["no member any more"]
    change = accounts.grant if args.does == "grant" else accounts.ungrant
    left = change(conn, user.id, roles, tenant)
    where = args.tenant or "every tenant"
    answer = {"email": user.email, "tenant": args.tenant or None, "roles": left}
    return answer, [f"{user.email} in {where}: {_listed(left)}"]


def _reset_password(conn: db.Connection, args: argparse.Namespace, project: Project) -> Result:
    user = _user(conn, args)
    if args.set:
        _set_password(conn, user, project)
        return {"email": user.email}, [f"{user.email} has a new password"]
    path = reset_path(signing.create_reset(conn, user.id))
    minutes = int(signing.RESET // 60)
    lines = [path, f"It sets a new password of {user.email}, once, within {minutes} minutes."]
    return {"email": user.email, "path": path}, lines


def _set_password(conn: db.Connection, user: accounts.User, project: Project) -> None:
    """From the terminal, twice; else the first line of standard input."""
    if sys.stdin.isatty():
        given = getpass.getpass("password: ")
        if getpass.getpass("again: ") != given:
            raise UsageError("the two passwords differ", hint="try again")
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    signing.set_password(conn, user, given, project.config.auth.password_min_length)


def _user(conn: db.Connection, args: argparse.Namespace) -> accounts.User:
    (email,) = _of(args, "the email of a user")
    return accounts.find_user(conn, email)


def _tenant(conn: db.Connection, args: argparse.Namespace) -> UUID | None:
    return accounts.find_tenant(conn, args.tenant).id if args.tenant else None


def _of(args: argparse.Namespace, what: str, *, least: int = 1, most: int = 1) -> list[str]:
    if not least <= len(args.of) <= most:
        raise UsageError(f"auth {args.does} needs {what}", hint="auth --help shows an example")
    return list(args.of)


def _check_known(roles: Sequence[str], project: Project) -> None:
    """Where auth.roles names the project's roles, no other can be given by mistake."""
    known = project.config.auth.roles
    for role in roles:
        if known and role not in known:
            raise UsageError(
                f"no role is called {role!r}", hint=f"auth.roles has: {', '.join(known)}"
            )


def _state(key: credentials.Key) -> str:
    if key.revoked_at:
        return "revoked"
    late = key.expires_at is not None and key.expires_at <= datetime.now(UTC)
    return "expired" if late else "good"


def _listed(roles: Any) -> str:
    return ", ".join(roles) or "none"


_DOES: Mapping[str, Callable[[db.Connection, argparse.Namespace, Project], Result]] = {
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
