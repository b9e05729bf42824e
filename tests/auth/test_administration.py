"""The administration of users: its limits, under attack by administrators, on a real database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from forge_min import db
from forge_min.auth import SYSTEM, Identity, accounts, as_identity, credentials, signing
from forge_min.auth.accounts import Tenant
from forge_min.auth.administration import PAGE, Administrator
from forge_min.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooManyAttempts,
    Unauthenticated,
)
from forge_min.testing import TestDatabase

pytestmark = pytest.mark.db
ROLES = ("admin",)
PASSWORD = "correct horse battery"


class Hospital:
    """Two tenants, their administrator anna, nora who administers the north, and nick, a nurse."""

    def __init__(self, conn: db.Connection) -> None:
        self.conn = conn
        for slug in ("north", "south"):
            accounts.create_tenant(conn, slug)
        self.north, self.south = (accounts.find_tenant(conn, s) for s in ("north", "south"))
        self.anna = accounts.create_user(conn, "anna@example.com", roles=["admin", "nurse"])
        self.nora = self.member("nora@example.com", ["admin", "nurse"])
        # They can sign in: an account without a password is no administrator that remains.
        conn.execute("update forge_user set password = 'a hash'")
        self.nick = self.member("nick@example.com", ["nurse"])

    def member(self, email: str, roles: list[str], tenant: Tenant | None = None) -> UUID:
        id = accounts.create_user(self.conn, email)
        accounts.grant(self.conn, id, roles, (tenant or self.north).id)
        return id

    @contextmanager
    def acting(
        self, user: UUID, tenant: Tenant | None = None, send: Any = None
    ) -> Iterator[Administrator]:
        """Identified by a session, as pages are."""
        secret = credentials.start_session(self.conn, user, 600, credentials.Browser())
        slug = tenant.slug if tenant else None
        identity = credentials.identify_session(self.conn, secret, slug)
        assert identity is not None
        with as_identity(identity):
            yield Administrator(self.conn, ROLES, send)


@pytest.fixture
def conn(fresh_database: TestDatabase) -> Iterator[db.Connection]:
    with db.connect(fresh_database.app_url) as conn:
        yield conn


@pytest.fixture
def hospital(conn: db.Connection) -> Hospital:
    return Hospital(conn)


def emails(administration: Administrator, **options: str) -> list[str]:
    return [each.user.email.partition("@")[0] for each in administration.people(**options)]


def test_an_administrator_of_a_tenant_sees_and_changes_only_that_tenant(hospital: Hospital) -> None:
    stranger = hospital.member("sid@example.com", ["nurse"], hospital.south)
    accounts.grant(hospital.conn, hospital.nick, ["finance"], hospital.south.id)
    accounts.grant(hospital.conn, hospital.nick, ["global"])
    key = credentials.create_key(hospital.conn, hospital.nick, tenant=hospital.south.id)
    with hospital.acting(hospital.nora, hospital.north) as nora:
        assert emails(nora) == ["nick", "nora"]
        person = nora.person(hospital.nick)
        assert person.tenants == {"north": ["nurse"]} and person.user.roles == ()
        assert [tenant.slug for tenant, _ in nora.tenants()] == ["north"]
        assert nora.list_keys() == nora.sessions(hospital.nick) == []
        with pytest.raises(NotFound):
            nora.person(stranger)
        with pytest.raises(NotFound):
            nora.revoke_keys(key[: credentials.HINT])
        refused: list[Callable[[], object]] = [
            lambda: nora.change_roles(hospital.nick, hospital.south, grant=["nurse"]),
            lambda: nora.change_roles(hospital.nick, None, grant=["nurse"]),
            lambda: nora.invite("new@example.com", "", ["nurse"], None),
            lambda: nora.invite("new@example.com", "", ["nurse"], hospital.south),
            lambda: nora.create_key(hospital.nick, roles=["nurse"]),
            lambda: nora.create_tenant("east"),
            # The account also acts in the south: only its membership is hers to change.
            lambda: nora.set_disabled(hospital.nick, True),
            lambda: nora.create_reset(hospital.nick),
            lambda: nora.end_sessions(hospital.nick),
            lambda: nora.unlock(hospital.nick),
        ]
        for call in refused:
            with pytest.raises(Forbidden):
                call()
        nora.remove_member(hospital.nick, hospital.north)
        assert emails(nora) == ["nora"]
    with pytest.raises(Unauthenticated):
        Administrator(hospital.conn, ROLES).people()
    with as_identity(Identity(str(hospital.nick), frozenset({"nurse"}), via="session")):
        with pytest.raises(Forbidden):
            Administrator(hospital.conn, ROLES).people()


def test_a_key_does_not_administer(hospital: Hospital) -> None:
    key = credentials.create_key(hospital.conn, hospital.anna)
    with as_identity(credentials.identify_key(hospital.conn, key)), pytest.raises(Forbidden):
        Administrator(hospital.conn, ROLES).people()


def test_roles_that_the_administrator_does_not_hold_cannot_be_reached(hospital: Hospital) -> None:
    boss = accounts.create_user(hospital.conn, "boss@example.com", roles=["finance"])
    accounts.grant(hospital.conn, hospital.anna, ["cashier"], hospital.north.id)
    with hospital.acting(hospital.anna, hospital.north) as anna:
        refused: list[Callable[[], object]] = [
            lambda: anna.change_roles(hospital.nick, None, grant=["finance"]),
            lambda: anna.change_roles(hospital.anna, None, grant=["finance"]),
            lambda: anna.change_roles(boss, None, revoke=["finance"]),
            # Held in the north only: neither everywhere nor in the south.
            lambda: anna.change_roles(hospital.nick, None, grant=["cashier"]),
            lambda: anna.change_roles(hospital.nick, hospital.south, grant=["cashier"]),
            lambda: anna.invite("new@example.com", "", ["finance"], None),
            lambda: anna.create_key(boss, roles=["finance"]),
            lambda: anna.create_key(boss, roles=None),
            lambda: anna.create_reset(boss),  # it would be a way into the account
        ]
        for call in refused:
            with pytest.raises(Forbidden):
                call()
        result = anna.change_roles(hospital.nick, hospital.north, grant=["cashier"])
        assert list(result) == ["cashier", "nurse"]
        anna.set_disabled(boss, True)
    with pytest.raises(NotFound):
        accounts.find_user(hospital.conn, "new@example.com")


def test_an_invitation_sets_a_password_and_adds_a_membership(hospital: Hospital) -> None:
    with hospital.acting(hospital.nora, hospital.north) as nora:
        id, is_new, secret = nora.invite("new@example.com", "New", ["nurse"], hospital.north)
        assert is_new and nora.person(id).tenants == {"north": ["nurse"]}
    signing.use_reset(hospital.conn, secret, PASSWORD, 12)
    assert signing.sign_in(hospital.conn, "new@example.com", PASSWORD, 60, credentials.Browser())
    with hospital.acting(hospital.anna, send=lambda *_: None) as anna:
        result = anna.invite("NEW@example.com", "", ["nurse"], hospital.south)
        assert result == (id, False, "")
        assert anna.person(id).tenants == {"north": ["nurse"], "south": ["nurse"]}
        with pytest.raises(Conflict):
            anna.invite("new@example.com", "", ["nurse"], None)


def test_with_mail_links_are_sent_and_no_administrator_sees_them(hospital: Hospital) -> None:
    sent: list[tuple[str, bool]] = []

    def send(conn: object, email: str, invites: bool) -> None:
        assert conn is hospital.conn
        sent.append((email, invites))

    with hospital.acting(hospital.anna, send=send) as anna:
        _, is_new, secret = anna.invite("new@example.com", "", ["nurse"], hospital.north)
        assert is_new and secret == anna.create_reset(hospital.nick) == ""
    assert sent == [("new@example.com", True), ("nick@example.com", False)]
    assert not db.run(hospital.conn, "select key from forge_reset")


def test_an_administrator_of_one_tenant_does_not_learn_who_has_an_account(
    hospital: Hospital,
) -> None:
    """The owner of an email joins by the link; until then an account elsewhere is as a new one."""
    sid = hospital.member("sid@example.com", ["nurse"], hospital.south)
    emails_of = ("new@example.com", "sid@example.com", "anna@example.com", "SID@example.com")
    sent: list[str] = []

    def send(conn: object, email: str, invites: bool, joins: str) -> None:
        assert invites
        sent.append(joins)

    def outcome(email: str, name: str, roles: list[str]) -> object:
        try:
            return nora.invite(email, name, roles, hospital.north)[1:]
        except (Forbidden, Invalid) as err:
            return type(err), str(err)

    with hospital.acting(hospital.nora, hospital.north, send) as nora:
        before = nora.people()
        for name, roles in (("Sid", ["nurse"]), ("x" * 201, ["nurse"]), ("", ["finance"])):
            assert len({outcome(email, name, roles) for email in emails_of}) == 1
        assert len(set(sent)) == 1 and len(sent) == len(emails_of)
        assert nora.people() == before
        with pytest.raises(NotFound):
            nora.person(sid)
    south = {"south": ["nurse"]}
    ((_, tenants),) = accounts.list_users(hospital.conn, id=sid)
    assert tenants == south, "its owner has not agreed"
    printed = signing.create_reset(hospital.conn, sid)
    links = [signing.create_reset(hospital.conn, sid, joins=sent[0]) for _ in range(7)]
    assert signing.find_reset(hospital.conn, printed).id == sid, "they end no link of an operator"
    signing.use_reset(hospital.conn, printed, PASSWORD, 12)
    ((_, tenants),) = accounts.list_users(hospital.conn, id=sid)
    assert tenants == south, "that was no invitation"
    with pytest.raises(Unauthenticated):
        signing.use_reset(hospital.conn, links[0], PASSWORD, 12)
    for joins in (sent[0], f"{hospital.north.id} {hospital.anna}", f"{UUID(int=7)} x nurse"):
        link = signing.create_reset(hospital.conn, sid, joins=joins)
        signing.use_reset(hospital.conn, link, PASSWORD, 12)
    with hospital.acting(hospital.nora, hospital.north, send) as nora:
        assert nora.person(sid).tenants == {"north": ["nurse"]}
        (change, *_) = reversed(nora.history(sid))
        assert change.changes == {"roles:north": [None, ["nurse"]]}
        assert change.actor_email == "nora@example.com", "not the user, who did not choose them"


def test_an_invitation_ends_earlier_ones_to_the_same_tenant(hospital: Hospital) -> None:
    """So an administrator corrects roles that were wrong."""
    sid = hospital.member("sid@example.com", ["nurse"], hospital.south)
    wrong, other, right = (
        signing.create_reset(hospital.conn, sid, joins=joins)
        for joins in (
            f"{hospital.north.id} {hospital.nora} admin",
            f"{UUID(int=7)} {hospital.nora} ",
            f"{hospital.north.id} {hospital.nora} nurse",
        )
    )
    with pytest.raises(Unauthenticated):
        signing.use_reset(hospital.conn, wrong, PASSWORD, 12)
    assert signing.find_reset(hospital.conn, other).id == sid
    signing.use_reset(hospital.conn, right, PASSWORD, 12)
    ((_, tenants),) = accounts.list_users(hospital.conn, id=sid)
    assert tenants == {"north": ["nurse"], "south": ["nurse"]}


def test_an_administrator_of_two_tenants_adds_a_member_of_one_to_the_other(
    hospital: Hospital,
) -> None:
    hospital.member("sid@example.com", ["nurse"], hospital.south)
    accounts.create_tenant(hospital.conn, "east")
    east = accounts.find_tenant(hospital.conn, "east")
    accounts.grant(hospital.conn, hospital.nora, ["admin", "nurse"], east.id)
    with hospital.acting(hospital.nora, east) as nora, pytest.raises(Conflict):
        nora.invite("sid@example.com", "", ["nurse"], east)
    with hospital.acting(hospital.nora, east, lambda *_: None) as nora:
        with pytest.raises(Forbidden):
            nora.invite("nick@example.com", "", ["finance"], east)
        assert nora.invite("nick@example.com", "", ["nurse"], east) == (hospital.nick, False, "")
        assert nora.person(hospital.nick).tenants == {"east": ["nurse"]}
        # She administers both tenants of the account, so the account itself too.
        assert nora.person(hospital.nick).is_manageable
        nora.set_disabled(hospital.nick, True)
        nora.set_disabled(hospital.nick, False)
        changes = [[*change.changes] for change in nora.history(hospital.nick)]
        assert changes == [["disabled"], ["disabled"], ["roles:east"]]
        accounts.grant(hospital.conn, hospital.nick, ["nurse"], hospital.south.id)
        assert not nora.person(hospital.nick).is_manageable
        with pytest.raises(Forbidden):
            nora.set_disabled(hospital.nick, True)
    with hospital.acting(hospital.anna, send=lambda *_: None) as anna:
        anna.remove_member(hospital.nick, hospital.south)
        assert len(anna.history(hospital.nick)) == 4
    with hospital.acting(hospital.nora, east) as nora:
        assert nora.person(hospital.nick).is_manageable
        assert len(nora.history(hospital.nick)) == 3, "that of the south is hidden"
    # Without mail she may know its password, so that no page lets it into a third tenant.
    with hospital.acting(hospital.anna) as anna, pytest.raises(Forbidden, match="auth grant"):
        anna.change_roles(hospital.nick, hospital.south, grant=["nurse"])


def test_an_administrator_takes_over_no_account_that_gets_roles_elsewhere(
    hospital: Hospital,
) -> None:
    loner = accounts.create_user(hospital.conn, "loner@example.com")
    with hospital.acting(hospital.nora, hospital.north) as nora:
        id, _, _ = nora.invite("victim@example.com", "", ["nurse"], hospital.north)
        # Of an account that she did not create she learns that it exists, and no more.
        for email in ("anna@example.com", "loner@example.com"):
            with pytest.raises(Conflict):
                nora.invite(email, "", ["nurse"], hospital.north)
        with pytest.raises(NotFound):
            nora.create_reset(loner)
    with hospital.acting(hospital.anna) as anna:
        for call in (
            lambda: anna.invite("victim@example.com", "", ["nurse"], hospital.south),
            lambda: anna.change_roles(id, hospital.south, grant=["nurse"]),
            lambda: anna.change_roles(id, None, grant=["nurse"]),
        ):
            with pytest.raises(Forbidden, match="auth grant"):
                call()
    with hospital.acting(hospital.anna, send=lambda *_: None) as anna:
        anna.change_roles(id, hospital.south, grant=["nurse"])


def test_an_administrator_whose_session_has_ended_changes_nothing(hospital: Hospital) -> None:
    with hospital.acting(hospital.anna) as anna:
        credentials.end_sessions(hospital.conn, hospital.anna)
        with pytest.raises(Forbidden):
            anna.set_disabled(hospital.nick, True)
    with hospital.acting(hospital.anna) as anna:
        signing.set_disabled(hospital.conn, hospital.anna, True)
        with pytest.raises(Forbidden):
            anna.invite("new@example.com", "", ["admin"], None)


def test_keys_and_deactivation_need_the_roles_of_the_account(hospital: Hospital) -> None:
    owner = hospital.member("owner@example.com", ["owner"])
    both = hospital.member("both@example.com", ["nurse"])
    accounts.grant(hospital.conn, both, ["nurse"], hospital.south.id)
    accounts.grant(hospital.conn, hospital.anna, ["nurse"], hospital.north.id)
    with hospital.acting(hospital.nora, hospital.north) as nora:
        for call in (
            lambda: nora.set_disabled(owner, True),
            lambda: nora.create_key(owner, roles=["nurse"], tenant=hospital.north),
            # It would act in the name of a user with more roles.
            lambda: nora.create_key(hospital.anna, roles=["nurse"], tenant=hospital.north),
            lambda: nora.create_key(both, roles=["nurse"], tenant=hospital.north),
        ):
            with pytest.raises(Forbidden):
                call()
        with pytest.raises(Forbidden):
            nora.create_key(hospital.nick, roles=["owner"], tenant=hospital.north)
    with hospital.acting(hospital.anna) as anna:
        with pytest.raises(NotFound):
            anna.create_key(hospital.nick, roles=["nurse"], tenant=hospital.south)
        with pytest.raises(Forbidden):
            anna.create_key(owner, roles=["nurse"], tenant=hospital.north)


def test_an_administrator_never_knows_a_key_of_another_person(hospital: Hospital) -> None:
    """With it, one person could both make and approve a request."""

    def is_valid(key: str) -> bool:
        try:
            return bool(credentials.identify_key(hospital.conn, key))
        except Unauthenticated:
            return False

    with hospital.acting(hospital.anna) as anna:
        early = anna.create_key(hospital.nick, roles=["nurse"], tenant=hospital.north)
        own = anna.create_key(hospital.anna, roles=["nurse"])
        with as_identity(SYSTEM):
            of_operator = Administrator(hospital.conn).create_key(hospital.nick, roles=None)
        assert is_valid(early)
        secret = signing.create_reset(hospital.conn, hospital.nick)
        signing.use_reset(hospital.conn, secret, PASSWORD, 12)
        assert not is_valid(early), "the account is a person now"
        assert is_valid(of_operator) and is_valid(own)
        for disabled in (False, True):
            signing.set_disabled(hospital.conn, hospital.nick, disabled)
            with pytest.raises(Forbidden, match="auth create-key nick@example.com"):
                anna.create_key(hospital.nick, roles=["nurse"], tenant=hospital.north)
        signing.set_disabled(hospital.conn, hospital.nick, False)
        user = accounts.find_user(hospital.conn, "nick@example.com")
        signing.set_password(hospital.conn, user, PASSWORD + "!", 12)
        assert is_valid(of_operator), "only the first password ends keys"
        with as_identity(SYSTEM):
            assert Administrator(hospital.conn).create_key(hospital.nick, roles=None)


def test_texts_that_no_page_can_show_are_refused(hospital: Hospital) -> None:
    with hospital.acting(hospital.anna) as anna:
        for name in ("a\0b", "x" * 201):
            for call in (
                lambda name=name: anna.invite("new@example.com", name, (), None),
                lambda name=name: anna.create_tenant("east", name),
                lambda name=name: anna.create_key(
                    hospital.nick, name, roles=["nurse"], tenant=hospital.north
                ),
            ):
                with pytest.raises(Invalid):
                    call()
            with hospital.acting(hospital.anna, send=pytest.fail) as sender, pytest.raises(Invalid):
                sender.create_key(hospital.nora, name, roles=["nurse"], tenant=hospital.north)
        with pytest.raises(Invalid):
            anna.invite("\u0130" * 240 + "@x.de", "", (), None)
        assert anna.people("\0", after="\0") == anna.people()


def test_a_deactivated_user_is_signed_out_and_unlocked_users_sign_in(hospital: Hospital) -> None:
    browser = credentials.Browser("192.0.2.1")
    user = accounts.find_user(hospital.conn, "nick@example.com")
    signing.set_password(hospital.conn, user, PASSWORD, 12)
    secret = credentials.start_session(hospital.conn, hospital.nick, 600, browser)
    key = credentials.create_key(hospital.conn, hospital.nick, tenant=hospital.north.id)
    with hospital.acting(hospital.nora, hospital.north) as nora:
        nora.set_disabled(hospital.nick, True)
        assert credentials.identify_session(hospital.conn, secret) is None
        with pytest.raises(Unauthenticated):
            credentials.identify_key(hospital.conn, key)
        nora.set_disabled(hospital.nick, False)
        for attempt in range(6):
            with pytest.raises((Unauthenticated, TooManyAttempts)) as caught:
                signing.sign_in(hospital.conn, user.email, f"wrong {attempt}", 60, browser)
        assert caught.type is TooManyAttempts
        nora.unlock(hospital.nick)
        assert signing.sign_in(hospital.conn, user.email, PASSWORD, 60, browser)
        assert len(nora.sessions(hospital.nick)) == 1
        nora.end_sessions(hospital.nick)
        assert nora.sessions(hospital.nick) == []


def test_one_administrator_remains(hospital: Hospital) -> None:
    with hospital.acting(hospital.anna) as anna:
        anna.invite("ghost@example.com", "", ["admin"], None)  # who cannot sign in yet
        for call in (
            lambda: anna.set_disabled(hospital.anna, True),
            lambda: anna.change_roles(hospital.anna, None, revoke=["admin"]),
        ):
            with pytest.raises(Conflict):
                call()
        anna.change_roles(hospital.nora, hospital.north, revoke=["admin"])  # anna remains
    accounts.ungrant(hospital.conn, hospital.anna, ["admin"])
    accounts.grant(hospital.conn, hospital.nora, ["admin"], hospital.north.id)
    with hospital.acting(hospital.nora, hospital.north) as nora:
        for call in (
            lambda: nora.change_roles(hospital.nora, hospital.north, revoke=["admin"]),
            lambda: nora.remove_member(hospital.nora, hospital.north),
            lambda: nora.set_disabled(hospital.nora, True),
        ):
            with pytest.raises(Conflict):
                call()


def test_of_administrators_that_remove_each_other_at_once_one_remains(
    hospital: Hospital, fresh_database: TestDatabase
) -> None:
    team = [
        accounts.create_user(hospital.conn, f"a{n}@example.com", roles=["admin"]) for n in range(4)
    ]
    hospital.conn.execute("update forge_user set password = 'a hash'")
    accounts.ungrant(hospital.conn, hospital.anna, ["admin"])

    def remove(place: int) -> bool:
        with db.connect(fresh_database.app_url) as conn:
            other = Hospital.__new__(Hospital)
            other.conn = conn
            with other.acting(team[place]) as administration:
                try:
                    administration.change_roles(team[place - 1], None, revoke=["admin"])
                except (Conflict, Forbidden):
                    return False
        return True

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(remove, range(4)))
    remaining = [user for user, _ in accounts.list_users(hospital.conn) if "admin" in user.roles]
    assert len(remaining) == 4 - sum(done) >= 1


def test_every_change_is_in_the_history_with_its_author(hospital: Hospital) -> None:
    accounts.grant(hospital.conn, hospital.nick, ["nurse"], hospital.south.id)
    with hospital.acting(hospital.anna) as anna:
        anna.change_roles(hospital.nick, hospital.north, grant=["admin"])
        key = anna.create_key(hospital.nick, roles=["nurse"], tenant=hospital.south)
        anna.revoke_keys(key[: credentials.HINT])
        anna.set_disabled(hospital.nick, True)
        with as_identity(SYSTEM):
            Administrator(hospital.conn).set_disabled(hospital.nick, False)
            user = accounts.find_user(hospital.conn, "nick@example.com")
            Administrator(hospital.conn).set_password(user, PASSWORD, 12)
        entries = anna.history(hospital.nick)
        changes = [(entry.actor_email or entry.actor, dict(entry.changes)) for entry in entries]
        email, hint = "anna@example.com", key[: credentials.HINT]
        assert changes == [
            ("system", {"password": ["", "set"]}),
            ("system", {"disabled": [True, False]}),
            (email, {"disabled": [False, True]}),
            (email, {"key:south": [hint, ""]}),
            (email, {"key:south": ["", hint]}),
            (email, {"roles:north": [["nurse"], ["admin", "nurse"]]}),
        ]
    with hospital.acting(hospital.nora, hospital.north) as nora:
        seen = nora.history(hospital.nick)
        assert [dict(entry.changes) for entry in seen] == [changes[-1][1]], "not the other tenant's"
        assert (seen[0].actor, seen[0].actor_email) == ("", ""), "anna is not a member"


def test_users_are_found_by_words_and_in_pages(hospital: Hospital) -> None:
    for n in range(PAGE):
        accounts.create_user(hospital.conn, f"u{n:03}@example.com", name=f"Übung {n}")
    with hospital.acting(hospital.anna) as anna:
        assert emails(anna, words="NORA") == ["nora"]
        assert emails(anna, words="übung 7") == ["u007"]
        assert emails(anna, words="%") == []
        first = anna.people()
        rest = emails(anna, after=first[PAGE - 1].user.email)
        assert len(first) == PAGE + 1 and rest == ["u047", "u048", "u049"]
