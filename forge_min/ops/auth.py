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
            answer, lines = _COMMANDS[args.does](_Command(conn, args, project))
    # After the commit, so that a key is never shown unless it was stored.
    print_result(answer, lines, as_json=args.json)
    return 0


class _Command:
    """The subcommands. Each returns what `print_result` takes."""

    def __init__(self, conn: db.Connection, args: Namespace, project: Project) -> None:
        self._conn = conn
        self._args = args
        self._project = project
        self._admin = administration.Administrator(conn)

    def create_user(self) -> Result:
        (email,) = self._of("an email")
        self._check_known(self._args.role)
        id, _, _ = self._admin.invite(email, self._args.name, self._args.role)
        if self._args.password:
            self._set_password(accounts.find_user(self._conn, email))
        return {"id": str(id), "email": email.lower()}, [f"{id}  {email.lower()}"]

    def list_users(self) -> Result:
        self._of("no argument; --tenant lists its members", least=0, most=0)
        tenant = self._tenant()
        users = accounts.list_users(self._conn, tenant and tenant.id)
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

    def disable(self) -> Result:
        user = self._user()
        disabled = self._args.does == "disable"
        self._admin.set_disabled(user.id, disabled)
        line = f"{user.email} is enabled"
        if disabled:
            line = f"{user.email} is disabled: it cannot sign in, and its keys are rejected"
        return {"email": user.email, "disabled": disabled}, [line]

    def set_time_zone(self) -> Result:
        email, zone = self._of("the email of a user, and a time zone", least=2, most=2)
        zones = zoneinfo.available_timezones()
        if zone not in zones:
            hint = "use an IANA name such as Europe/Berlin"
            for name in difflib.get_close_matches(zone[:100], zones, n=1):
                hint = f"did you mean {name}?"
            if not zones:
                hint = "no time zones are installed: install the package tzdata"
            raise UsageError(f"unknown time zone {zone!r}", hint=hint)
        user = accounts.find_user(self._conn, email)
        accounts.change_settings(self._conn, user.id, zone, user.language)
        return {"email": user.email, "time_zone": zone}, [f"{user.email}: {zone}"]

    def list_tenants(self) -> Result:
        self._of("no argument", least=0, most=0)
        tenants = accounts.list_tenants(self._conn)
        lines = (f"{row.id}  {row.slug}  {members} members  {row.name}" for row, members in tenants)
        return [{**row._asdict(), "members": members} for row, members in tenants], lines

    def create_tenant(self) -> Result:
        (slug,) = self._of("a slug")
        id = self._admin.create_tenant(slug, self._args.name)
        return {"id": str(id), "slug": slug}, [f"{id}  {slug}"]

    def create_key(self) -> Result:
        user = self._user()
        tenant = self._tenant()
        lifetime = None
        if self._args.lifetime:
            lifetime = parse_duration(self._args.lifetime)
            if not lifetime or lifetime > LONGEST:  # Python cannot represent every later date
                message = f"--lifetime {self._args.lifetime} is not a time of at most 3650d"
                hint = "use for example 90d; omit it if the key shall not expire"
                raise UsageError(message, hint=hint)
        self._check_known(self._args.role)
        roles = self._args.role or None
        secret = self._admin.create_key(
            user.id, self._args.name, roles=roles, tenant=tenant, lifetime=lifetime
        )
        lines = [secret, "The key is shown only once. Send it as: Authorization: Bearer <key>"]
        return {"key": secret}, lines

    def list_keys(self) -> Result:
        keys = credentials.list_keys(self._conn, self._user().id)
        return [key._asdict() for key in keys], map(_key_line, keys)

    def revoke_key(self) -> Result:
        (name,) = self._of("a key's id or its first characters")
        count = self._admin.revoke_keys(name)
        return {"revoked": count}, [f"revoked: {name}"]

    def grant(self) -> Result:
        email, *roles = self._of("the email of a user, and roles", least=1, most=100)
        if not roles and not self._args.tenant:
            raise UsageError(
                f"auth {self._args.does} needs roles, or --tenant", hint="auth grant a@b admin"
            )
        if (
            self._args.does == "grant"
        ):  # a role that auth.roles no longer names can still be revoked
            self._check_known(roles)
        user = accounts.find_user(self._conn, email)
        tenant = self._tenant()
        if self._args.does == "revoke" and not roles and tenant is not None:
            self._admin.remove_member(user.id, tenant)
            line = f"{user.email} is no longer a member of {self._args.tenant}"
            return {"email": user.email, "left": self._args.tenant}, [line]
        remaining = self._admin.change_roles(user.id, tenant, **{self._args.does: roles})
        line = f"{user.email} in {self._args.tenant or 'every tenant'}: {_join_roles(remaining)}"
        return {"email": user.email, "tenant": self._args.tenant or None, "roles": remaining}, [
            line
        ]

    def reset_password(self) -> Result:
        user = self._user()
        if self._args.set:
            self._set_password(user)
            return {"email": user.email}, [f"{user.email} has a new password"]
        token = self._admin.create_reset(user.id)
        path = reset_path(token)
        minutes = int(signing.RESET // 60)
        lines = [path, f"Valid once, for {minutes} minutes, to set a new password of {user.email}."]
        return {"email": user.email, "path": path}, lines

    def _set_password(self, user: accounts.User) -> None:
        """Set a password that is read from the terminal, twice, or from the first line of stdin."""
        if sys.stdin.isatty():
            password = getpass.getpass("password: ")
            if getpass.getpass("again: ") != password:
                raise UsageError("the two passwords differ", hint="try again")
        else:
            password = sys.stdin.readline().rstrip("\r\n")
        min_length = self._project.config.auth.password_min_length
        self._admin.set_password(user, password, min_length)

    def _user(self) -> accounts.User:
        (email,) = self._of("the email of a user")
        return accounts.find_user(self._conn, email)

    def _tenant(self) -> accounts.Tenant | None:
        if not self._args.tenant:
            return None
        return accounts.find_tenant(self._conn, self._args.tenant)

    def _of(self, what: str, *, least: int = 1, most: int = 1) -> list[str]:
        if not least <= len(self._args.of) <= most:
            raise UsageError(
                f"auth {self._args.does} needs {what}", hint="auth --help shows an example"
            )
        return list(self._args.of)

    def _check_known(self, roles: Sequence[str]) -> None:
        """Reject roles that auth.roles does not name, if it names any."""
        names = self._project.config.auth.roles
        for role in roles:
            if names and role not in names:
                hint = f"auth.roles has: {', '.join(names)}"
                raise UsageError(f"unknown role {role!r}", hint=hint)


def _key_line(key: credentials.ApiKey) -> str:
    roles = "all" if key.roles is None else _join_roles(key.roles)
    tenant = key.tenant or "any"
    return f"{key.hint}  {_state(key):8}  roles: {roles}  tenant: {tenant}  {key.name}"


def _state(key: credentials.ApiKey) -> str:
    if key.revoked_at:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return "expired"
    return "valid"


def _join_roles(roles: Any) -> str:
    return ", ".join(roles) or "none"


_COMMANDS: Mapping[str, Callable[[_Command], Result]] = {
    "create-user": _Command.create_user,
    "list-users": _Command.list_users,
    "disable": _Command.disable,
    "enable": _Command.disable,
    "set-time-zone": _Command.set_time_zone,
    "create-tenant": _Command.create_tenant,
    "list-tenants": _Command.list_tenants,
    "create-key": _Command.create_key,
    "keys": _Command.list_keys,
    "revoke-key": _Command.revoke_key,
    "grant": _Command.grant,
    "revoke": _Command.grant,
    "reset-password": _Command.reset_password,
}
