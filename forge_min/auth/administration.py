"""The administration of users, tenants and keys: by users on pages, by operators in a terminal.

A user with one of the administrators' roles everywhere administers all tenants. A member of a
tenant with such a role there sees its members only, and changes only their roles and keys there.
Administrators grant only roles that they hold, and take over no account with other roles. One of
them always remains. Every change is in the history of the user (`history`), with the uses of the
account: sign-ins, ended sessions and exports.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb

from .. import db
from ..errors import Conflict, Forbidden, NotFound
from ..i18n import text
from ..observe import log_fields
from . import accounts, credentials, signing
from .accounts import Connection, Tenant, User, execute
from .credentials import ApiKey, Session
from .identity import SESSION, current_identity, require_one_of

Roles = Sequence[str]
SendLink = Callable[..., object]
Changes = Mapping[str, tuple[Any, Any]]
"""Name → value before and after."""
PERMISSION = "people"
PAGE = 50  # users of one page
INVITATION = 7 * 86_400.0  # seconds that the link of an invitation is valid
# Topics of the history.
USERS = "forge_user"
TENANTS = "forge_tenant"


class Person(NamedTuple):
    """A user, as an administrator sees it.

    tenants: roles by the slug of a tenant; only that tenant to which the administrator is limited.
    is_manageable: whether the administrator may change the account itself: its password, sessions
        and state.
    """

    user: User
    tenants: Mapping[str, Roles]
    is_manageable: bool = True


class AccountChange(NamedTuple):
    """An entry of the history.

    changes: name → value before and after. Roles and keys in a tenant are named "roles:<slug>" and
        "key:<slug>".
    """

    at: datetime
    actor: str
    actor_name: str
    actor_email: str
    changes: Changes


class Administrator:
    """The current identity as an administrator; each operation checks that it is one.

    roles: of administrators. The system needs none.
    send: sends the owner of an email a link that sets the password (connection, email, whether it
        is an invitation, and `joins` of `signing.create_reset`), or a new key (`key`: the options
        of `credentials.create_key`). Without it the links are returned, so that the administrator
        may know the password.
    """

    def __init__(
        self, conn: Connection, roles: Collection[str] = (), send: SendLink | None = None
    ) -> None:
        self._conn = conn
        self._roles = frozenset(roles)
        self._send = send

    def limit(self) -> Tenant | None:
        """Return the tenant to which the administrator is limited, None for all tenants.

        Raises Unauthenticated for an anonymous user, Forbidden for other users, and for an
        API key.
        """
        identity = require_one_of(self._roles, PERMISSION)
        if identity.system:
            return None
        # SAFETY: read again, because another administrator may have ended the session by now.
        if identity.via == SESSION and credentials.renewed(self._conn, identity):
            if not self._roles.isdisjoint(self.grantable(None)):
                return None
            if identity.tenant is not None:
                tenant = accounts.find_tenant(self._conn, str(identity.tenant))
                if not self._roles.isdisjoint(self.grantable(tenant)):
                    return tenant
        raise Forbidden(text("this identity may not do this here"))

    def people(
        self, words: str = "", tenant: Tenant | None = None, after: str = ""
    ) -> list[Person]:
        """Return a page of users by email, and the first of the next page.

        words: part of their name or email.
        tenant: only its members.
        after: the last email of the previous page.
        """
        limit = self.limit()
        id = _id_of(limit or tenant)
        count = PAGE + 1
        users = accounts.list_users(self._conn, id, words=words, after=after, limit=count)
        return self._visible(limit, users)

    def person(self, id: UUID) -> Person:
        """Return one user. Raises NotFound F633 if it is invisible to the administrator."""
        limit = self.limit()
        users = accounts.list_users(self._conn, _id_of(limit), id=id)
        if not users:
            raise NotFound(text("this user does not exist"), code="F633")
        (person,) = self._visible(limit, users)
        return person

    def tenants(self) -> list[tuple[Tenant, int]]:
        """Return the tenants that the administrator may see, with the number of their members."""
        limit = self.limit()
        tenants = accounts.list_tenants(self._conn)
        if limit is None:
            return tenants
        return [(tenant, members) for tenant, members in tenants if tenant == limit]

    def list_keys(self, user: UUID | None = None, after: UUID | None = None) -> list[ApiKey]:
        """Return the keys of a user that the administrator may revoke.

        user: None for all users: a page of valid keys, and the first of the next page.
        after: the last key of the previous page.
        """
        tenant = _id_of(self.limit())
        count = None
        if user is None:
            count = PAGE + 1
        return credentials.list_keys(self._conn, user, tenant, after, count)

    def grantable(self, tenant: Tenant | None) -> frozenset[str]:
        """Return the roles that the current user holds in a tenant; None means everywhere."""
        caller = self._caller()
        roles = frozenset(caller.user.roles)
        if tenant is None:
            return roles
        return roles.union(caller.tenants.get(tenant.slug, ()))

    def sessions(self, id: UUID) -> list[Session]:
        """Return the sessions of a user; none if the account is not manageable."""
        if not self.person(id).is_manageable:
            return []
        return credentials.list_sessions(self._conn, id)

    def history(self, id: UUID | None = None, topic: str = USERS) -> list[AccountChange]:
        """Return the latest changes and uses of one user or tenant, or of all; the newest first.

        An administrator of tenants sees changes of roles and keys there, and those of a manageable
        account itself. Authors that are not members are not named.
        """
        limit = self.limit()
        slugs = None
        is_manageable = True
        if limit:
            slugs = list(self._administered())
            is_manageable = id is not None and self.person(id).is_manageable
        rows = execute(
            self._conn,
            "changes",
            topic=topic,
            id=id and str(id),
            slugs=slugs,
            account=is_manageable,
            tenant=_id_of(limit),
        )
        return [AccountChange(*row) for row in rows]

    # -- changes -----------------------------------------------------------------------------------

    def invite(
        self, email: str, name: str = "", roles: Roles = (), tenant: Tenant | None = None
    ) -> tuple[UUID, bool, str]:
        """Create an account, or add a member of another tenant that the caller administers.

        An administrator of one tenant must not learn which emails have accounts elsewhere. So with
        `send` the owner of any other email joins the tenant by the link, also that of an account
        that exists. Without `send`, the error reveals it: no link may be shown for such an account.

        roles: in the tenant; without one, everywhere.

        Returns the id, whether the account is new for the caller, and the secret of the link that
        sets its password, valid for INVITATION; "" if it was sent.

        Raises Conflict for an account that exists, and as `accounts.create_user` and
        `change_roles`.
        """
        accounts.check_email(email)
        accounts.check_name(name)  # also if the account exists
        secret = ""
        with self._changing(tenant):
            try:
                id = accounts.find_user(self._conn, email).id
                is_new = False
                is_elsewhere = self._administered().isdisjoint(self._load(id).tenants)
                is_hidden = is_elsewhere and self.limit() is not None
                if tenant is None or (is_hidden and not self._send):
                    raise Conflict(text("{email} has an account already", email=email))
            except NotFound:
                id = accounts.create_user(self._conn, email, name=name)
                is_new = True
                is_hidden = self.limit() is not None
                self._record(id, {}, "create")
            if tenant and is_hidden and self._send:
                self._check_held(roles, tenant)
                joins = " ".join([str(tenant.id), current_identity().user, *roles])
                self._send(self._conn, email, True, joins)
                return id, True, ""
            self._grant(id, roles, tenant)
            if is_new and self._send:
                self._send(self._conn, email, True)
            elif is_new:
                secret = signing.create_reset(self._conn, id, lifetime=INVITATION)
        return id, is_new, secret

    def change_roles(
        self, id: UUID, tenant: Tenant | None, *, grant: Roles = (), revoke: Roles = ()
    ) -> Roles:
        """Grant and revoke roles. Returns all roles that the user then has there.

        tenant: where they apply; None means everywhere.

        Raises Forbidden for roles that the administrator does not hold, Conflict if no
        administrator would remain, and as `accounts.grant`.
        """
        with self._changing(tenant):
            roles = _roles_of(self.person(id), tenant) or ()
            if grant or not revoke:
                roles = self._grant(id, grant, tenant)
            if revoke:
                before = roles
                self._check_held(revoke, tenant)
                roles = accounts.ungrant(self._conn, id, revoke, _id_of(tenant))
                lost = set(before).difference(roles)
                self._check_remaining(lost, tenant and tenant.slug)
                self._record_roles(id, tenant, before, roles)
        return roles

    def remove_member(self, id: UUID, tenant: Tenant) -> None:
        """End a membership. Raises as `change_roles`."""
        with self._changing(tenant):
            before = _roles_of(self.person(id), tenant) or ()
            self._check_held(before, tenant)
            accounts.leave(self._conn, id, tenant.id)
            self._check_remaining(before, tenant.slug)
            self._record_roles(id, tenant, before, None)

    def set_disabled(self, id: UUID, disabled: bool) -> None:
        """Disable or enable an account. Its sessions end, its keys are rejected.

        Raises Forbidden, and Conflict if no administrator would remain.
        """
        with self._changing_account(id) as person:
            signing.set_disabled(self._conn, id, disabled)
            if disabled:
                self._check_remaining(person.user.roles, None)
                for slug, roles in person.tenants.items():
                    self._check_remaining(roles, slug)
            self._record(id, {"disabled": (person.user.disabled, disabled)})

    def create_reset(self, id: UUID) -> str:
        """Return the secret of a link that sets a new password; "" if it was sent.

        Raises Forbidden, also for an account with roles that the administrator does not hold.
        """
        with self._changing_account(id) as person:
            self._record(id, {"password": ("", "link")})
            if self._send:
                self._send(self._conn, person.user.email, False)
                return ""
            self._check_account_held(person)
            return signing.create_reset(self._conn, id)

    def set_password(self, user: User, password: object, min_length: int) -> None:
        """Set a password, as an operator. Raises as `signing.set_password`, and Forbidden."""
        require_one_of(())
        signing.set_password(self._conn, user, password, min_length)
        self._record(user.id, {"password": ("", "set")})

    def unlock(self, id: UUID) -> None:
        """Forget the failed sign-ins of an account. Raises Forbidden."""
        with self._changing_account(id) as person:
            signing.forget_attempts(self._conn, person.user.email)
            self._record(id, {"locked": (True, False)})

    def end_sessions(self, id: UUID, session: UUID | None = None) -> None:
        """End a session of a user, or all. Raises Forbidden."""
        with self._changing_account(id):
            ended = credentials.end_sessions(self._conn, id, session)
            if ended:
                self._record(id, {"sessions": (ended, 0)})

    def create_key(
        self,
        id: UUID,
        name: str = "",
        *,
        roles: Roles | None,
        tenant: Tenant | None = None,
        lifetime: float | None = None,
    ) -> str:
        """Create a key of a user. Returns its secret; "" if it was sent to another user.

        roles, lifetime: as in `credentials.create_key`; roles: None only for the system.
        tenant: the only tenant in which the key acts, if any.

        Raises Forbidden for a user with roles that the administrator does not hold, and without
        mail for another one with a password; NotFound F633 for a user outside the tenant.
        """
        accounts.check_name(name)  # an error of the job that may create the key would come too late
        with self._changing(tenant), self._changing_account(id) as person:
            self._check_account_held(person)
            identity = current_identity()
            # SAFETY: with a key of another person, an administrator could approve an own request.
            # The lock makes the first password wait, which ends the keys of administrators.
            ((has_password,),) = execute(self._conn, "has_password", user=id)
            is_sent = has_password and not identity.system and identity.user != str(id)
            if is_sent and self._send is None:
                command = f"auth create-key {person.user.email}"
                raise Forbidden(text("only an operator may do this: {command}", command=command))
            if tenant and tenant.slug not in person.tenants:
                raise NotFound(text("the user is not a member of this tenant"), code="F633")
            if roles is None:
                require_one_of(())
            self._check_held(roles or (), tenant)
            options: dict[str, Any] = {"name": name, "roles": roles, "lifetime": lifetime}
            secret = ""
            hint = name or "–"
            if is_sent and self._send:
                options["tenant"] = tenant and str(tenant.id)
                self._send(self._conn, person.user.email, False, key=options)
            else:
                options["tenant"] = _id_of(tenant)
                secret = credentials.create_key(self._conn, id, **options)
                hint = secret[: credentials.HINT]
            name = _qualified("key", tenant and tenant.slug)
            self._record(id, {name: ("", hint)})
        return secret

    def revoke_keys(self, hint_or_id: str) -> int:
        """Revoke the key of an id, or all keys with a hint. Returns their number.

        Raises NotFound F633 if the administrator may see no valid one.
        """
        limit = self.limit()
        with self._changing(limit):
            revoked = credentials.revoke_keys(self._conn, hint_or_id, _id_of(limit))
            for user, hint, slug in revoked:
                name = _qualified("key", slug)
                self._record(user, {name: (hint, "")})
        return len(revoked)

    def create_tenant(self, slug: str, name: str = "") -> UUID:
        """Create a tenant. Returns its id. Raises as `accounts.create_tenant`, and Forbidden."""
        with self._changing(None):
            id = accounts.create_tenant(self._conn, slug, name)
            self._record(id, {"name": ("", name or slug)}, "create", TENANTS)
        return id

    # -- checks ------------------------------------------------------------------------------------

    @contextmanager
    def _changing(self, tenant: Tenant | None) -> Iterator[None]:
        """Run the block in a transaction that no other change of users can overtake.

        LOCK: two administrators cannot remove each other, and a former one changes nothing.

        tenant: of the change. Raises Forbidden for an administrator of another one.
        """
        with db.transaction(self._conn):
            execute(self._conn, "lock_administration")
            limit = self.limit()
            if limit is not None and limit != tenant:
                raise Forbidden(text("only an administrator of all tenants may do this"))
            yield

    @contextmanager
    def _changing_account(self, id: UUID) -> Iterator[Person]:
        """Run the block as `_changing`, for a change of the account itself."""
        limit = self.limit()
        with self._changing(limit):
            if not self.person(id).is_manageable:
                raise Forbidden(text("only an administrator of all tenants may do this"))
            person = self._load(id)
            if limit is not None:
                self._check_account_held(person)
            yield person

    def _grant(self, id: UUID, roles: Roles, tenant: Tenant | None) -> Roles:
        """Grant roles that the administrator holds. Returns all roles there."""
        self._check_held(roles, tenant)
        person = self._load(id)
        # SAFETY: without mail, an administrator of the tenants so far may know the password.
        is_known = self._send is None and not person.user.roles and person.tenants
        joins = tenant is None or tenant.slug not in person.tenants
        if is_known and joins and not current_identity().system:
            message = text("without mail, only `auth grant` adds an account of another tenant")
            raise Forbidden(message)
        after = accounts.grant(self._conn, id, roles, _id_of(tenant))
        self._record_roles(id, tenant, _roles_of(person, tenant), after)
        return after

    def _visible(
        self, limit: Tenant | None, users: Iterable[tuple[User, Mapping[str, Roles]]]
    ) -> list[Person]:
        """Return users as an administrator of this tenant, or of all, sees them."""
        if limit is None:
            return [Person(user, tenants) for user, tenants in users]
        slugs = self._administered()
        people = []
        for user, tenants in users:
            is_manageable = not user.roles and slugs.issuperset(tenants)
            visible_roles = {limit.slug: tenants[limit.slug]}
            people.append(Person(user._replace(roles=()), visible_roles, is_manageable))
        return people

    def _administered(self) -> set[str]:
        """Return the slugs of the tenants that the current user administers as a member."""
        if current_identity().system:
            return set()
        tenants = self._caller().tenants.items()
        return {slug for slug, roles in tenants if not self._roles.isdisjoint(roles)}

    def _caller(self) -> Person:
        """Return the current user with all tenants."""
        return self._load(UUID(current_identity().user))

    def _load(self, id: UUID) -> Person:
        """Return a user with all tenants."""
        ((user, tenants),) = accounts.list_users(self._conn, id=id)
        return Person(user, tenants)

    def _check_held(self, roles: Collection[str], tenant: Tenant | None) -> None:
        """Raise Forbidden for roles that the administrator does not hold in the tenant."""
        if roles and not current_identity().system:
            missing = set(roles) - self.grantable(tenant)
            _refuse(missing)

    def _check_account_held(self, person: Person) -> None:
        """Raise Forbidden for an account with roles that the administrator does not hold."""
        if not current_identity().system:
            caller = self._caller()
            everywhere = set(caller.user.roles)
            missing = set(person.user.roles) - everywhere
            for slug, roles in person.tenants.items():
                held = everywhere.union(caller.tenants.get(slug, ()))
                missing |= set(roles) - held
            _refuse(missing)

    def _check_remaining(self, lost: Collection[str], slug: str | None) -> None:
        """Raise Conflict if these roles were those of the last administrator of the tenant."""
        if not self._roles.isdisjoint(lost):
            administrators = execute(
                self._conn, "administrators", roles=list(self._roles), slug=slug
            )
            if not administrators:
                raise Conflict(text("one administrator must remain"))

    # -- the history -------------------------------------------------------------------------------

    def _record_roles(
        self, id: UUID, tenant: Tenant | None, before: Roles | None, after: Roles | None
    ) -> None:
        if before != after:
            name = _qualified("roles", tenant and tenant.slug)
            self._record(id, {name: (before, after)})

    def _record(
        self, id: UUID, changes: Changes, operation: str = "update", topic: str = USERS
    ) -> None:
        fields = log_fields.get()
        request = str(fields.get("request_id", ""))
        actor = current_identity().user
        execute(
            self._conn,
            "record_change",
            topic=topic,
            id=str(id),
            operation=operation,
            actor=actor,
            changes=Jsonb(changes),
            request=request,
        )


def _refuse(missing: Set[str]) -> None:
    """Raise Forbidden for roles that the administrator does not hold, if there are any."""
    if missing:
        names = ", ".join(sorted(missing))
        raise Forbidden(text("you do not hold these roles yourself: {roles}", roles=names))


def _roles_of(person: Person, tenant: Tenant | None) -> Roles | None:
    """Return the roles of a user in a tenant, None without a membership."""
    if tenant is None:
        return person.user.roles
    return person.tenants.get(tenant.slug)


def _id_of(tenant: Tenant | None) -> UUID | None:
    return tenant and tenant.id


def _qualified(name: str, slug: str | None) -> str:
    """Return the name of a change in a tenant, or everywhere."""
    if not slug:
        return name
    return f"{name}:{slug}"
