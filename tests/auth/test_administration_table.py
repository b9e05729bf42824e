"""Who may do what in the administration: a table of all its methods, from which the tests are made.

A new method of `Administrator` needs a block in TABLE.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from forge_min import db
from forge_min.auth import (
    ANONYMOUS,
    SYSTEM,
    Identity,
    accounts,
    as_identity,
    credentials,
    current_identity,
    signing,
)
from forge_min.auth.accounts import Tenant
from forge_min.auth.administration import TENANTS, Administrator
from forge_min.db import EmbeddedServer
from forge_min.errors import Conflict, DomainError, Forbidden, NotFound, Unauthenticated
from forge_min.testing import fresh_database

pytestmark = pytest.mark.db
ROLES = ("admin",)
STATUS = {Unauthenticated: "401", Forbidden: "403", NotFound: "404", Conflict: "409"}
# The accounts of the table, in the order of its columns. All but "bare" have a password.
TARGETS = {
    "self": "the actor, if it has an account",
    "own": "only in the north",
    "two": "in the north, and in the south without a role there",
    "more": "in the north, with a role there that no administrator holds",
    "peer": "an administrator of the north",
    "chief": "an administrator of all tenants, and a member of the north",
    "bare": "only in the north, without a password",
}
ACTORS = {
    "system": "an operator at a terminal",
    "all": "an administrator of all tenants",
    "north": "an administrator of the north, to which the targets belong",
    "south": "an administrator of the south",
    "member": "a member of the north without the role",
    "disabled": "an administrator of all tenants whose account is disabled",
    "key": "an API key of an administrator of all tenants",
    "anonymous": "not signed in",
}
# A line for each actor, or for several with the same results: those for the targets, in their
# order, or one for all targets. "ok", "none" (nothing is found), the HTTP status of the error, or
# "-" where there is no such target.
TABLE = {
    "limit": """
        system,all,north,south       ok
        member,disabled,key          403
        anonymous                    401
    """,
    "grantable": """
        system,anonymous             -
        all,north,south,member,disabled,key ok
    """,
    "people": """
        system,all,north,south       ok
        member,disabled,key          403
        anonymous                    401
    """,
    "person": """
        system,all,north             ok
        south                        ok   404  ok   404  404  404  404
        member,disabled,key          403
        anonymous                    401
    """,
    "tenants": """
        system,all,north,south       ok
        member,disabled,key          403
        anonymous                    401
    """,
    "list_keys of all": """
        system,all,north             ok
        south                        none
        member,disabled,key          403
        anonymous                    401
    """,
    "list_keys": """
        system,all,north             ok
        south                        none
        member,disabled,key          403
        anonymous                    401
    """,
    "sessions": """
        system,all                   ok
        north                        ok   ok   none ok   ok   none ok
        south                        ok   404  none 404  404  404  404
        member,disabled,key          403
        anonymous                    401
    """,
    "history of all": """
        system,all,north             ok
        south                        none
        member,disabled,key          403
        anonymous                    401
    """,
    "history of tenants": """
        system,all                   ok
        north,south                  none
        member,disabled,key          403
        anonymous                    401
    """,
    "history": """
        system,all,north             ok
        south                        ok   404  none 404  404  404  404
        member,disabled,key          403
        anonymous                    401
    """,
    "history of the account itself": """
        system,all                   ok
        north                        ok   ok   none ok   ok   none ok
        south                        ok   404  none 404  404  404  404
        member,disabled,key          403
        anonymous                    401
    """,
    "invite new, north": """
        system,all,north             ok
        south,member,disabled,key    403
        anonymous                    401
    """,
    "invite new, everywhere": """
        system,all                   ok
        north,south,member,disabled,key 403
        anonymous                    401
    """,
    "invite to the south": """
        system                       ok
        all                          ok   403  ok   403  403  ok   403
        north,member,disabled,key    403
        south                        ok   409  ok   409  409  409  409
        anonymous                    401
    """,
    "change_roles grant": """
        system,all,north             ok
        south,member,disabled,key    403
        anonymous                    401
    """,
    "change_roles grant a role that is not held": """
        system                       ok
        all,north,south,member,disabled,key 403
        anonymous                    401
    """,
    "change_roles grant everywhere": """
        system                       ok
        all                          ok   403  403  403  403  ok   403
        north,south,member,disabled,key 403
        anonymous                    401
    """,
    "change_roles grant in the south, with mail": """
        system,all                   ok
        north,member,disabled,key    403
        south                        ok   404  ok   404  404  404  404
        anonymous                    401
    """,
    "change_roles grant in the south": """
        system                       ok
        all                          ok   403  ok   403  403  ok   403
        north,member,disabled,key    403
        south                        ok   404  ok   404  404  404  404
        anonymous                    401
    """,
    "change_roles revoke": """
        system,north                 ok
        all                          404  ok   ok   ok   ok   ok   ok
        south,member,disabled,key    403
        anonymous                    401
    """,
    "remove_member": """
        system                       ok
        all                          404  ok   ok   403  ok   ok   ok
        north                        ok   ok   ok   403  ok   ok   ok
        south,member,disabled,key    403
        anonymous                    401
    """,
    "remove_member of the south": """
        system                       -    404  ok   404  404  404  404
        all                          404  404  ok   404  404  404  404
        north,member,disabled,key    403
        south                        ok   404  ok   404  404  404  404
        anonymous                    401
    """,
    "set_disabled": """
        system,all                   ok
        north                        ok   ok   403  403  ok   403  ok
        south                        ok   404  403  404  404  404  404
        member,disabled,key          403
        anonymous                    401
    """,
    "create_reset": """
        system                       ok
        all                          ok   ok   ok   403  ok   ok   ok
        north                        ok   ok   403  403  ok   403  ok
        south                        ok   404  403  404  404  404  404
        member,disabled,key          403
        anonymous                    401
    """,
    "create_reset with mail": """
        system,all                   ok
        north                        ok   ok   403  403  ok   403  ok
        south                        ok   404  403  404  404  404  404
        member,disabled,key          403
        anonymous                    401
    """,
    "set_password": """
        system                       ok
        all,north,south,member,disabled,key 403
        anonymous                    401
    """,
    "unlock": """
        system,all                   ok
        north                        ok   ok   403  403  ok   403  ok
        south                        ok   404  403  404  404  404  404
        member,disabled,key          403
        anonymous                    401
    """,
    "end_sessions": """
        system,all                   ok
        north                        ok   ok   403  403  ok   403  ok
        south                        ok   404  403  404  404  404  404
        member,disabled,key          403
        anonymous                    401
    """,
    "create_key": """
        system                       ok
        all                          404  403  403  403  403  403  ok
        north                        ok   403  403  403  403  403  ok
        south,member,disabled,key    403
        anonymous                    401
    """,
    "create_key for all tenants": """
        system                       ok
        all                          ok   403  403  403  403  403  ok
        north,south,member,disabled,key 403
        anonymous                    401
    """,
    "create_key with a role that is not held": """
        system                       ok
        all                          404  403  403  403  403  403  403
        north,south,member,disabled,key 403
        anonymous                    401
    """,
    "create_key with all roles": """
        system                       ok
        all                          404  403  403  403  403  403  403
        north,south,member,disabled,key 403
        anonymous                    401
    """,
    "revoke_keys": """
        system,all,north             ok
        south                        404
        member,disabled,key          403
        anonymous                    401
    """,
    "create_tenant": """
        system,all                   ok
        north,south,member,disabled,key 403
        anonymous                    401
    """,
}


class World:
    """Two tenants with the actors and targets. Tests undo what they change."""

    def __init__(self, conn: db.Connection) -> None:
        self.conn = conn
        with as_identity(SYSTEM):
            for slug in ("north", "south"):
                Administrator(conn).create_tenant(slug)
        self.north, self.south = (accounts.find_tenant(conn, slug) for slug in ("north", "south"))
        self.targets = {
            "own": self.account("own", north=["nurse"]),
            "two": self.account("two", north=["nurse"], south=[]),
            "more": self.account("more", north=["nurse", "finance"]),
            "peer": self.account("peer", north=["admin", "nurse"]),
            "chief": self.account("chief", ["admin", "nurse"], north=["nurse"]),
            "bare": self.account("bare", north=["nurse"]),
        }
        everywhere = ["admin", "nurse"]
        users = {
            "all": (self.account("all", everywhere), None),
            "north": (self.account("north", north=everywhere), self.north),
            "south": (self.account("south", south=everywhere), self.south),
            "member": (self.account("member", north=["nurse"]), self.north),
            "disabled": (self.account("disabled", everywhere), None),
        }
        self.users = {name: user for name, (user, _) in users.items()}
        conn.execute("update forge_user set password = 'a hash' where email not like 'bare@%'")
        self.actors = {name: self.signed_in(*place) for name, place in users.items()}
        signing.set_disabled(conn, self.users["disabled"], True)
        key = credentials.create_key(conn, self.users["all"])
        self.actors |= {"system": SYSTEM, "anonymous": ANONYMOUS}
        self.actors["key"] = credentials.identify_key(conn, key)
        self.users["key"] = self.users["all"]
        # Each account has a session, a key for the north, and changes in the history.
        for user in {**self.users, **self.targets}.values():
            credentials.start_session(conn, user, 600, credentials.Browser())
            with as_identity(SYSTEM):
                system = Administrator(conn)
                system.unlock(user)
                if user in self.targets.values():
                    system.create_key(user, roles=None, tenant=self.north)
                else:
                    credentials.create_key(conn, user, tenant=self.north.id)

    def account(self, name: str, everywhere: Sequence[str] = (), **roles: Sequence[str]) -> UUID:
        user = accounts.create_user(self.conn, f"{name}@example.com", roles=everywhere)
        for slug, granted in roles.items():
            accounts.grant(self.conn, user, granted, accounts.find_tenant(self.conn, slug).id)
        return user

    def signed_in(self, user: UUID, tenant: Tenant | None) -> Identity:
        secret = credentials.start_session(self.conn, user, 600, credentials.Browser())
        slug = tenant.slug if tenant else None
        identity = credentials.identify_session(self.conn, secret, slug)
        assert identity is not None
        return identity


class Case(NamedTuple):
    """The actor's administration, and the target of one cell."""

    admin: Administrator
    world: World
    id: UUID
    email: str


def key_of(case: Case) -> str:
    """The id of the target's key in the north."""
    sql = "select id from forge_token where user_id = %s and tenant_id = %s limit 1"
    ((id,),) = case.world.conn.execute(sql, [case.id, case.world.north.id]).fetchall()
    return str(id)


def sending(case: Case) -> Administrator:
    """The actor's administration where mail is sent."""
    return Administrator(case.world.conn, ROLES, lambda *_: None)


def account(case: Case) -> accounts.User:
    ((user, _),) = accounts.list_users(case.world.conn, id=case.id)
    return user


def create_key(case: Case, roles: list[str] | None, tenant: Tenant | None) -> str:
    return case.admin.create_key(case.id, roles=roles, tenant=tenant)


def grantable(case: Case) -> object:
    """The system and anonymous users have no account."""
    return case.admin.grantable(case.world.north) if current_identity().via else "-"


# Named as in TABLE: the method, then what is special. Those that return nothing are "ok".
CALLS: dict[str, Callable[[Case], Any]] = {
    "limit": lambda c: c.admin.limit(),
    "grantable": grantable,
    "people": lambda c: c.admin.people(),
    "person": lambda c: c.admin.person(c.id),
    "tenants": lambda c: c.admin.tenants(),
    "list_keys of all": lambda c: c.admin.list_keys(),
    "list_keys": lambda c: c.admin.list_keys(c.id),
    "sessions": lambda c: c.admin.sessions(c.id),
    "history of all": lambda c: c.admin.history(),
    "history of tenants": lambda c: c.admin.history(topic=TENANTS),
    "history": lambda c: c.admin.history(c.id),
    "history of the account itself": lambda c: [
        entry for entry in c.admin.history(c.id) if "locked" in entry.changes
    ],
    "invite new, north": lambda c: c.admin.invite("new@x.de", "", ["nurse"], c.world.north),
    "invite new, everywhere": lambda c: c.admin.invite("new@x.de", "", ["nurse"]),
    "invite to the south": lambda c: c.admin.invite(c.email, "", ["nurse"], c.world.south),
    "change_roles grant": lambda c: c.admin.change_roles(c.id, c.world.north, grant=["admin"]),
    "change_roles grant a role that is not held": lambda c: c.admin.change_roles(
        c.id, c.world.north, grant=["owner"]
    ),
    "change_roles grant everywhere": lambda c: c.admin.change_roles(c.id, None, grant=["nurse"]),
    "change_roles grant in the south, with mail": lambda c: sending(c).change_roles(
        c.id, c.world.south, grant=["nurse"]
    ),
    "change_roles grant in the south": lambda c: c.admin.change_roles(
        c.id, c.world.south, grant=["nurse"]
    ),
    "change_roles revoke": lambda c: c.admin.change_roles(c.id, c.world.north, revoke=["nurse"]),
    "remove_member": lambda c: c.admin.remove_member(c.id, c.world.north),
    "remove_member of the south": lambda c: c.admin.remove_member(c.id, c.world.south),
    "set_disabled": lambda c: c.admin.set_disabled(c.id, True),
    "create_reset": lambda c: c.admin.create_reset(c.id),
    "create_reset with mail": lambda c: sending(c).create_reset(c.id),
    "set_password": lambda c: c.admin.set_password(account(c), "correct horse battery", 12),
    "unlock": lambda c: c.admin.unlock(c.id),
    "end_sessions": lambda c: c.admin.end_sessions(c.id),
    "create_key": lambda c: create_key(c, ["nurse"], c.world.north),
    "create_key for all tenants": lambda c: create_key(c, ["nurse"], None),
    "create_key with a role that is not held": lambda c: create_key(c, ["owner"], c.world.north),
    "create_key with all roles": lambda c: create_key(c, None, c.world.north),
    "revoke_keys": lambda c: c.admin.revoke_keys(key_of(c)),
    "create_tenant": lambda c: c.admin.create_tenant("east"),
}


@pytest.fixture(scope="module")
def world(server: EmbeddedServer) -> Iterator[World]:
    """Shared by the tests, which leave it as it was."""
    with fresh_database(server) as database, db.connect(database.app_url) as conn:
        yield World(conn)


def result(world: World, name: str, actor: str, target: str) -> str:
    """A cell of the table."""
    user = world.users.get(actor) if target == "self" else world.targets[target]
    if user is None:
        return "-"
    email = f"{actor if target == 'self' else target}@example.com"
    with ExitStack() as stack:
        stack.enter_context(world.conn.transaction(force_rollback=True))
        stack.enter_context(as_identity(world.actors[actor]))
        case = Case(Administrator(world.conn, ROLES), world, user, email)
        try:
            found = CALLS[name](case)
        except DomainError as err:
            return STATUS[type(err)]
    if found == "-":
        return "-"
    return "none" if found == [] else "ok"


def results(world: World, name: str, actor: str) -> str:
    """The cells of a line, one if all are the same."""
    cells = [result(world, name, actor, target) for target in TARGETS]
    same = {*cells} - {"-"} or {"-"}
    return same.pop() if len(same) == 1 else " ".join(cells)


@pytest.mark.parametrize("name", CALLS)
def test_each_method_permits_what_the_table_says(world: World, name: str) -> None:
    lines = [line.split(maxsplit=1) for line in TABLE[name].strip().splitlines()]
    expected = {
        actor: " ".join(cells.split()) for names, cells in lines for actor in names.split(",")
    }
    assert {actor: results(world, name, actor) for actor in ACTORS} == expected


def test_the_table_has_every_method() -> None:
    methods = {
        name
        for name, _ in inspect.getmembers(Administrator, inspect.isfunction)
        if not name.startswith("_")
    }
    assert {name.split()[0] for name in CALLS} == methods
    assert TABLE.keys() == CALLS.keys()
