"""Signing in, sessions, and lost passwords, on a real database as the app's role."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from forge_min import db
from forge_min.auth import (
    SYSTEM,
    Identity,
    accounts,
    as_identity,
    credentials,
    passwords,
    signing,
)
from forge_min.auth.accounts import User
from forge_min.auth.administration import Administrator
from forge_min.auth.credentials import Browser, SessionUse, digest
from forge_min.auth.signing import Bucket
from forge_min.errors import (
    Conflict,
    Forbidden,
    Invalid,
    TooManyAttempts,
    Unauthenticated,
    Unavailable,
)
from forge_min.testing import TestDatabase

pytestmark = pytest.mark.db
PASSWORD = "correct horse battery"
HOUR = 3600.0
SECRET = b"s" * 32


@pytest.fixture
def conn(fresh_database: TestDatabase) -> Iterator[db.Connection]:
    with db.connect(fresh_database.app_url) as conn:
        yield conn


@pytest.fixture
def anna(conn: db.Connection) -> User:
    accounts.create_user(conn, "anna@example.com", name="Anna", roles=["editor"])
    user = accounts.find_user(conn, "anna@example.com")
    signing.set_password(conn, user, PASSWORD, 12)
    return user


def count(conn: db.Connection, table: str) -> int:
    return int(conn.execute(f"select count(*) from {table}").fetchall()[0][0])  # type: ignore[call-overload]


def test_a_session_says_who_it_is_and_nothing_of_it_can_be_read_in_the_table(
    conn: db.Connection, anna: User
) -> None:
    secret = signing.sign_in(conn, " ANNA@example.com ", PASSWORD, HOUR, Browser("10.0.0.1"))
    who = credentials.identify_session(conn, secret)
    assert who is not None
    assert (who.user, who.name, who.roles) == (str(anna.id), "Anna", {"editor"})
    assert who.via == "session" and credentials.renewed(conn, who) == who
    dump = str(conn.execute("select * from forge_session").fetchall())
    assert secret not in dump and PASSWORD not in str(conn.execute("table forge_user").fetchall())
    assert (
        credentials.identify_session(conn, secret + "x") is None
        and credentials.identify_session(conn, "") is None
    )
    (listed,) = credentials.list_sessions(conn, anna.id)
    assert listed.address == "10.0.0.1"


@pytest.mark.parametrize("email", ["İpek@example.com", "ÖZGE@example.com"])
def test_capitals_of_an_email_are_small_in_one_way_wherever_it_is_written(
    conn: db.Connection, email: str
) -> None:
    accounts.create_user(conn, email)
    user = accounts.find_user(conn, email)
    signing.set_password(conn, user, PASSWORD, 12)
    for typed in (email, email.lower()):
        assert signing.find_user(conn, typed) == accounts.find_user(conn, typed) == user
        assert signing.sign_in(conn, typed, PASSWORD, HOUR, Browser())
    with pytest.raises(Conflict):
        accounts.create_user(conn, email.lower())


def test_each_sign_in_has_a_new_secret_and_ends_the_one_that_the_browser_had(
    conn: db.Connection, anna: User
) -> None:
    first = signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser())
    second = signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser(before=first))
    assert first != second and credentials.identify_session(conn, first) is None
    other = signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser())
    assert credentials.identify_session(conn, second) and credentials.identify_session(conn, other)


def test_a_session_ends_at_its_time_with_its_user_and_when_it_is_told_to(
    conn: db.Connection, anna: User
) -> None:
    secrets = [signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser()) for _ in range(3)]
    identities = [credentials.identify_session(conn, one) for one in secrets]
    assert all(identities)
    ids = [credentials.session_id(who) for who in identities if who]
    assert (
        credentials.end_sessions(conn, anna.id, ids[0]) == 1
        and credentials.end_sessions(conn, anna.id, ids[0]) == 0
    )
    assert credentials.end_sessions(conn, anna.id, but=ids[1]) == 1
    assert [bool(credentials.identify_session(conn, one)) for one in secrets] == [
        False,
        True,
        False,
    ]
    conn.execute("update forge_session set expires_at = now()")
    assert credentials.identify_session(conn, secrets[1]) is None
    assert identities[1] and credentials.renewed(conn, identities[1]) is None
    fresh = signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser())
    assert count(conn, "forge_session") == 1, "what has ended goes with the next"
    conn.execute("update forge_user set disabled_at = now()")
    assert credentials.identify_session(conn, fresh) is None
    with pytest.raises(Unauthenticated):
        signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser())


def pass_time(conn: db.Connection, seconds: float) -> None:
    """As if all that is known of sessions were older."""
    conn.execute(
        "update forge_session set created_at = created_at - t, seen_at = seen_at - t,"
        " expires_at = expires_at - t from (select %s * interval '1 second' as t) t",
        [seconds],
    )


def test_a_session_ends_without_requests_of_its_user(conn: db.Connection, anna: User) -> None:
    """Not before the timeout, at most a minute after it; requests of scripts do not count."""
    secret = signing.sign_in(conn, anna.email, PASSWORD, 24 * HOUR, Browser())
    used = SessionUse(24 * HOUR, 900)
    away = used._replace(is_background=True)

    def identity(use: SessionUse) -> Identity | None:
        return credentials.identify_session(conn, secret, use=use)

    kept = identity(away)
    assert kept
    for seconds, use in ((59, used), (890, used), (890, away), (60, away)):
        pass_time(conn, seconds)
        assert identity(use) and credentials.renewed(conn, kept) == kept
    pass_time(conn, 15)
    assert identity(used) is None, "965 s after the last request"
    assert credentials.renewed(conn, kept) is None, "its streams end"
    assert credentials.list_sessions(conn, anna.id) == []


def test_use_extends_no_session_beyond_its_lifetime(conn: db.Connection, anna: User) -> None:
    secret = signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser())
    use = SessionUse(HOUR, 900)
    for _ in range(4):
        assert credentials.identify_session(conn, secret, use=use)
        pass_time(conn, 899)
    assert credentials.identify_session(conn, secret, use=use)
    pass_time(conn, 5)
    assert credentials.identify_session(conn, secret, use=use) is None


def test_a_new_idle_timeout_ends_sessions_that_are_older(conn: db.Connection, anna: User) -> None:
    secret = signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser())
    pass_time(conn, 1000)
    assert credentials.identify_session(conn, secret, use=SessionUse(HOUR, 900)) is None
    assert credentials.identify_session(conn, secret)


def test_nobody_ends_anothers_session(conn: db.Connection, anna: User) -> None:
    secret = signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser())
    who = credentials.identify_session(conn, secret)
    other = accounts.create_user(conn, "berta@example.com")
    assert who and credentials.end_sessions(conn, other, credentials.session_id(who)) == 0
    assert credentials.identify_session(conn, secret)


def test_a_session_acts_in_a_tenant_of_its_users_alone(conn: db.Connection, anna: User) -> None:
    north, south = (accounts.create_tenant(conn, slug) for slug in ("north", "south"))
    accounts.grant(conn, anna.id, ["boss"], north)
    secret = signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser())
    who = credentials.identify_session(conn, secret, "north")
    assert who and who.tenant == north and who.roles == {"editor", "boss"}
    assert credentials.identify_session(conn, secret, str(north)) == who
    for wrong in ("south", str(south), "nowhere"):
        with pytest.raises(Forbidden):
            credentials.identify_session(conn, secret, wrong)
    accounts.leave(conn, anna.id, north)
    assert credentials.renewed(conn, who) is None


def test_the_same_is_said_of_a_wrong_password_and_of_no_account(
    conn: db.Connection, anna: User
) -> None:
    accounts.create_user(conn, "nopassword@example.com")
    said = set()
    for email in (
        anna.email,
        "nobody@example.com",
        "nopassword@example.com",
        "",
        "\0x@y",
        "x" * 999,
    ):
        with pytest.raises(Unauthenticated) as caught:
            signing.sign_in(conn, email, "wrong password!", HOUR, Browser(str(len(email))))
        said.add((type(caught.value), caught.value.message, caught.value.code))
    assert len(said) == 1


def refill_by_the_hour(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """No bucket gets room while a test runs, however slow the machine is."""
    for name in names:
        bucket: Bucket = getattr(signing, name)
        monkeypatch.setattr(signing, name, bucket._replace(every=HOUR))


def test_tries_are_counted_before_they_are_looked_at_so_many_at_once_are_no_way_around(
    fresh_database: TestDatabase, conn: db.Connection, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    refill_by_the_hour(monkeypatch, "HERE")

    def attempt(n: int) -> str:
        with db.connect(fresh_database.app_url) as own:
            try:
                signing.sign_in(own, anna.email, f"wrong {n}", HOUR, Browser("10.0.0.1"))
            except (Unauthenticated, TooManyAttempts) as err:
                return err.code
        return "in"

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(attempt, range(12)))
    assert sorted(found) == ["F637"] * 7 + ["F638"] * 5
    with pytest.raises(TooManyAttempts) as caught:  # even the right one
        signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("10.0.0.1"))
    assert 1 <= caught.value.retry_after <= HOUR
    assert signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("10.0.0.2")), "from elsewhere"
    conn.execute("update forge_throttle set until = until - interval '1 hour 1 second'")
    assert signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("10.0.0.1")), "an hour later"


@pytest.mark.thorough
def test_what_is_right_gives_the_tries_of_the_account_back(
    conn: db.Connection, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    refill_by_the_hour(monkeypatch, "HERE", "ADDRESS")
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(Unauthenticated):
                signing.sign_in(conn, anna.email, "wrong password!", HOUR, Browser("10.0.0.1"))
        signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("10.0.0.1"))
    # Of the address they stay: accounts of one's own are no way around.
    with pytest.raises(TooManyAttempts):
        for n in range(25):
            with pytest.raises(Unauthenticated):
                signing.sign_in(conn, f"{n}@example.com", "wrong", HOUR, Browser("10.0.0.1"))


def test_a_change_of_the_password_gives_its_tries_back(conn: db.Connection, anna: User) -> None:
    now = PASSWORD
    for n in range(signing.HERE.free + 1):
        new = f"another battery horse {n}"
        signing.change_password(conn, anna, now, new, 12)
        now = new
    assert signing.sign_in(conn, anna.email, now, HOUR, Browser("10.0.0.1"))


def test_a_new_password_is_looked_at_after_the_current_one(conn: db.Connection, anna: User) -> None:
    with pytest.raises(Unauthenticated):
        signing.change_password(conn, anna, "wrong", "short", 12)
    with pytest.raises(Invalid):
        signing.change_password(conn, anna, PASSWORD, "short", 12)


@pytest.mark.thorough
def test_an_office_behind_one_address_signs_in_as_often_as_it_likes(
    conn: db.Connection, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    refill_by_the_hour(monkeypatch, "ADDRESS")
    for n in range(signing.ADDRESS.free - 1):
        with pytest.raises(Unauthenticated):
            signing.sign_in(conn, f"{n}@example.com", "wrong", HOUR, Browser("10.0.0.1"))
    for _ in range(5):  # each of these is the last one that is free
        signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("10.0.0.1"))
    with pytest.raises(Unauthenticated):
        signing.sign_in(conn, anna.email, "wrong", HOUR, Browser("10.0.0.1"))
    with pytest.raises(TooManyAttempts):  # what was wrong is not forgotten
        signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("10.0.0.1"))


def test_tries_that_are_over_leave_no_row(conn: db.Connection, anna: User) -> None:
    for n in range(5):
        with pytest.raises(Unauthenticated):
            signing.sign_in(conn, f"{n}@example.com", "wrong", HOUR, Browser(f"10.0.0.{n}"))
    assert count(conn, "forge_throttle") == 16 + 5, "failures are counted without an account, too"
    conn.execute("update forge_throttle set until = now() - interval '1 second'")
    for address in ("10.0.0.8", "10.0.0.9"):  # the second one sweeps what the first gave back
        signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser(address))
    rows = conn.execute("select key from forge_throttle where until > now()").fetchall()
    assert {str(key).split()[0] for (key,) in rows} == {"known", "correct"} and len(rows) == 3
    assert count(conn, "forge_throttle") <= 2 + 5


def uses(conn: db.Connection, user: User) -> list[tuple[str, str, str, str]]:
    """The author, kind, and values before and after of each entry; the newest first."""
    with as_identity(SYSTEM):
        entries = Administrator(conn).history(user.id)
    return [(e.actor, k, *change) for e in entries for k, change in e.changes.items()]


def test_the_history_has_sign_ins_ended_sessions_and_bounded_failures(
    conn: db.Connection, anna: User
) -> None:
    """It names the network of each. A failure has no author, and unknown emails leave nothing."""
    id, somewhere = str(anna.id), Browser("10.0.0.1")
    for email in (anna.email, "nobody@example.com"):
        with pytest.raises(Unauthenticated):
            signing.sign_in(conn, email, "wrong", HOUR, Browser("10.0.0.9"))
    secret = signing.sign_in(conn, anna.email, PASSWORD, HOUR, somewhere)
    identity = credentials.identify_session(conn, secret)
    assert identity
    with as_identity(identity):
        credentials.end_sessions(conn, anna.id, credentials.session_id(identity))
        accounts.record_export(conn, "patients")
    accounts.record_export(conn, "by nobody")
    expected = [
        (id, "export", "", "patients"),
        (id, "sign_out", "10.0.0.1", ""),
        (id, "sign_in", "", "10.0.0.1"),
        ("", "failed_sign_in", "", "10.0.0.9"),
    ]
    assert uses(conn, anna) == expected
    assert count(conn, "forge_audit") == len(expected)
    signing.set_disabled(conn, anna.id, True)
    for n in range(40):
        with pytest.raises(Unauthenticated):
            signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser(f"10.0.1.{n}"))
    assert count(conn, "forge_audit") == len(expected) + 29, "30 at once, of any networks"


def test_sign_ins_displace_no_change_of_the_account(conn: db.Connection, anna: User) -> None:
    with as_identity(SYSTEM):
        Administrator(conn).change_roles(anna.id, None, grant=["auditor"])
    for _ in range(25):
        signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser())
    kinds = [kind for _, kind, *_ in uses(conn, anna)]
    assert kinds == ["sign_in"] * 20 + ["roles"]


def use_up(conn: db.Connection, *keys: str) -> None:
    """As a stranger with as many addresses as it takes."""
    for key in keys:
        conn.execute(
            "insert into forge_throttle values (%s, now() + '1 day', '0') "
            "on conflict (key) do update set until = excluded.until",
            [key],
        )


def counted(conn: db.Connection) -> list[object]:
    return conn.execute("select key, until from forge_throttle order by key").fetchall()


def test_a_refused_try_counts_nowhere(conn: db.Connection, anna: User) -> None:
    """Else one address that is refused uses up what its account has from everywhere."""
    account = digest(anna.email).hex()
    use_up(conn, f"here {account} 10.0.0.1")
    before = counted(conn)
    for _ in range(signing.ACCOUNT.free + 1):
        with pytest.raises(TooManyAttempts):
            signing.sign_in(conn, anna.email, "wrong", HOUR, Browser("10.0.0.1"))
    assert counted(conn) == before
    use_up(conn, f"account {account}", f"first {account} 10.0.0.2")
    before = counted(conn)
    with pytest.raises(TooManyAttempts):
        signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("10.0.0.2"))
    assert counted(conn) == before


def test_strangers_lock_out_no_known_device_no_known_network_and_no_new_one(
    conn: db.Connection, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    refill_by_the_hour(monkeypatch, "FIRST")
    cookie = signing.remember_device(conn, SECRET, "", anna.email)
    device = signing.find_device(conn, SECRET, cookie, anna.email)
    signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("at home"))
    account = digest(anna.email).hex()
    use_up(conn, f"account {account}", "everyone")
    assert signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("at home"))
    assert signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("a new one"))
    with pytest.raises(Unauthenticated):
        signing.sign_in(conn, anna.email, "a typo", HOUR, Browser("a hotel's"))
    assert signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("a hotel's"))
    for _ in range(signing.FIRST.free):
        with pytest.raises(Unauthenticated):
            signing.sign_in(conn, anna.email, "wrong", HOUR, Browser("a stranger's"))
    with pytest.raises(TooManyAttempts) as caught:
        signing.sign_in(conn, anna.email, "wrong", HOUR, Browser("a stranger's"))
    assert caught.value.retry_after <= HOUR, "the wait of its network, which ends first"
    use_up(conn, "address a café")
    assert signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("a café"), device=device)
    with pytest.raises(TooManyAttempts):
        signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("a café"))


def test_a_known_device_guesses_no_more_often_than_a_stranger(
    conn: db.Connection, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    refill_by_the_hour(monkeypatch, "HERE")
    cookie = signing.remember_device(conn, SECRET, "", anna.email)
    device = signing.find_device(conn, SECRET, cookie, anna.email)
    use_up(conn, "address stolen")
    for _ in range(signing.HERE.free):
        with pytest.raises(Unauthenticated):
            signing.sign_in(conn, anna.email, "wrong", HOUR, Browser("stolen"), device=device)
    with pytest.raises(TooManyAttempts):
        signing.sign_in(conn, anna.email, "wrong", HOUR, Browser("stolen"), device=device)
    # It counts as unknown then.
    assert signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("at home"), device=device)


def test_a_device_is_known_for_its_accounts_until_their_password_is_another(
    conn: db.Connection, anna: User
) -> None:
    emails = [f"{name}@example.com" for name in ("berta", "clara", "dora", "emma", "frida")]
    for email in emails:
        accounts.create_user(conn, email)
    cookie = signing.remember_device(conn, SECRET, "", "ANNA@example.com ")
    known = signing.find_device(conn, SECRET, cookie, anna.email)
    assert known and known in cookie and "anna" not in cookie
    assert signing.find_device(conn, SECRET, cookie, emails[0]) == ""
    assert signing.find_device(conn, b"another" * 5, cookie, anna.email) == ""
    for wrong in ("", "x", known, f"{known}.", f"{known}.{'A' * 22}", "\xe9" * 45, cookie + "."):
        assert signing.find_device(conn, SECRET, wrong, anna.email) == "", wrong
    for email in emails[:-1]:  # a device of several people
        cookie = signing.remember_device(conn, SECRET, cookie, email)
        assert signing.find_device(conn, SECRET, cookie, email) == known
        assert signing.find_device(conn, SECRET, cookie, anna.email) == known
    assert signing.remember_device(conn, SECRET, cookie, emails[3]) == cookie
    full = signing.remember_device(conn, SECRET, cookie, emails[4])
    assert len(full) == len(cookie) and signing.find_device(conn, SECRET, full, anna.email) == ""
    signing.set_password(conn, anna, "another horse battery", 12)
    assert signing.find_device(conn, SECRET, cookie, anna.email) == ""
    assert signing.find_device(
        conn, SECRET, signing.remember_device(conn, SECRET, "bad", anna.email), anna.email
    )


@pytest.mark.parametrize("used_up", ["account {}", "everyone"])
def test_a_try_from_an_unknown_network_waits_in_one_of_few_places(
    fresh_database: TestDatabase, conn: db.Connection, anna: User,
    monkeypatch: pytest.MonkeyPatch, used_up: str,
) -> None:  # fmt: skip
    key = used_up.format(digest(anna.email).hex())
    places, reached = threading.BoundedSemaphore(1), threading.Event()
    verify = signing.verify_password

    def reaching(*given: str) -> bool:
        reached.set()
        return verify(*given)

    monkeypatch.setattr(signing, "verify_password", reaching)
    monkeypatch.setattr(passwords, "_UNKNOWN", places)
    monkeypatch.setattr(passwords, "WAIT", 3600.0)
    use_up(conn, key)

    def attempt() -> str:
        with db.connect(fresh_database.app_url) as own:
            return signing.sign_in(own, anna.email, PASSWORD, HOUR, Browser("10.0.0.1"))

    with ThreadPoolExecutor(1) as pool:
        with passwords._NEXT:  # one that waits for its turn
            waiting = pool.submit(attempt)
            assert reached.wait(60) or waiting.result()
            before = counted(conn)
            # No place is left: it does not wait, which nothing would end, and does not count.
            with pytest.raises(Unavailable):
                signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("10.0.0.2"))
            assert counted(conn) == before
        assert waiting.result(60)
    assert signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("10.0.0.2"))


@pytest.mark.parametrize("way", ["sign in", "change"])
def test_correct_passwords_of_one_account_are_bounded(
    conn: db.Connection, anna: User, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Else one client with an account of its own is first in the queue for a turn all the time."""
    monkeypatch.setattr(signing, "CORRECT", Bucket(3, HOUR), raising=False)

    def attempt(n: int) -> object:
        if way == "change":
            return signing.change_password(conn, anna, PASSWORD, PASSWORD, 12)
        return signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser(f"10.0.0.{n}"))

    for n in range(3):
        attempt(n)
    with pytest.raises(TooManyAttempts):
        attempt(3)
    accounts.create_user(conn, "berta@example.com")
    signing.set_password(conn, accounts.find_user(conn, "berta@example.com"), PASSWORD, 12)
    assert signing.sign_in(conn, "berta@example.com", PASSWORD, HOUR, Browser("10.0.0.0"))


def test_a_strangers_requests_for_links_leave_the_owners_alone(
    conn: db.Connection, anna: User
) -> None:
    account = digest(anna.email).hex()
    cookie = signing.remember_device(conn, SECRET, "", anna.email)
    device = signing.find_device(conn, SECRET, cookie, anna.email)
    for n in range(signing.HERE.free):
        assert signing.count_reset(conn, anna.email, f"10.0.0.{n}")
    use_up(conn, f"reset {account}")
    # The mailbox has just got as many as it may get; nobody is told to wait.
    assert not signing.count_reset(conn, anna.email, "10.0.0.99")
    assert signing.count_reset(conn, anna.email, "10.0.0.99", device)
    signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser("at home"))
    assert signing.count_reset(conn, anna.email, "at home")
    use_up(conn, f"reset {account} 10.0.0.1")
    with pytest.raises(TooManyAttempts):
        signing.count_reset(conn, anna.email, "10.0.0.1")


def test_a_link_sets_a_password_once_and_ends_every_session(
    conn: db.Connection, anna: User
) -> None:
    session = signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser())
    other, link = (signing.create_reset(conn, anna.id) for _ in range(2))
    assert link not in str(conn.execute("table forge_reset").fetchall())
    with pytest.raises(Invalid):
        signing.use_reset(conn, link, "short", 12)
    assert signing.find_reset(conn, link).email == anna.email
    assert signing.use_reset(conn, link, "another horse battery", 12).id == anna.id
    for used in (link, other):
        with pytest.raises(Unauthenticated):
            signing.use_reset(conn, used, "a third horse battery", 12)
    assert count(conn, "forge_reset") == 0 and credentials.identify_session(conn, session) is None
    with pytest.raises(Unauthenticated):
        signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser())
    assert signing.sign_in(conn, anna.email, "another horse battery", HOUR, Browser())


@pytest.mark.parametrize("outdated", [False, True])
@pytest.mark.parametrize("way", ["sign in", "change"])
def test_what_an_old_password_begins_does_not_outlive_a_new_one(
    conn: db.Connection, anna: User, fresh_database: TestDatabase,
    monkeypatch: pytest.MonkeyPatch, way: str, outdated: bool,
) -> None:  # fmt: skip
    """The new one is set while the old one is looked at."""
    verify = signing.verify_password

    def slowly(password: str, kept: str | None, *wait: Any) -> bool:
        found = verify(password, kept, *wait)
        if password == PASSWORD and found:
            with db.connect(fresh_database.app_url) as other:
                signing.set_password(other, anna, "another battery horse", 12)
        return found

    monkeypatch.setattr(signing, "verify_password", slowly)
    monkeypatch.setattr(signing, "is_outdated", lambda kept: outdated)
    with pytest.raises(Unauthenticated):
        if way == "sign in":
            signing.sign_in(conn, anna.email, PASSWORD, HOUR, Browser())
        else:
            signing.change_password(conn, anna, PASSWORD, "of a thief who is quick", 12)
    assert count(conn, "forge_session") == 0
    assert signing.sign_in(conn, anna.email, "another battery horse", HOUR, Browser())
    for password in (PASSWORD, "of a thief who is quick"):
        with pytest.raises(Unauthenticated):
            signing.sign_in(conn, anna.email, password, HOUR, Browser())


def test_an_operators_links_are_a_few_and_those_asked_for_end_none(
    conn: db.Connection, anna: User
) -> None:
    def good(secret: str) -> bool:
        try:
            return signing.find_reset(conn, secret).id == anna.id
        except Unauthenticated:
            return False

    made = [signing.create_reset(conn, anna.id) for _ in range(signing.LINKS + 1)]
    asked = [signing.create_reset(conn, anna.id, requested=True) for _ in range(signing.LINKS + 2)]
    assert [good(link) for link in made] == [False] + [True] * signing.LINKS
    assert all(map(good, asked)), "a stranger's requests end no link of the owner's"
    conn.execute("update forge_reset set expires_at = now()")
    assert not any(map(good, made + asked))
    signing.create_reset(conn, anna.id)
    assert count(conn, "forge_reset") == 1, "what is too old goes with the next"


@pytest.mark.parametrize("links", [1, 5])
def test_a_link_is_used_by_one_of_many_who_use_one_at_once(
    fresh_database: TestDatabase, conn: db.Connection, anna: User, links: int
) -> None:
    made = [signing.create_reset(conn, anna.id) for _ in range(links)]

    def use(n: int) -> bool:
        with db.connect(fresh_database.app_url) as own:
            try:
                return bool(
                    signing.use_reset(own, made[n % links], f"horse battery number {n}", 12)
                )
            except Unauthenticated:
                return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(use, range(6))) == 1


def test_a_link_ends_at_its_time_and_with_a_new_password(conn: db.Connection, anna: User) -> None:
    link = signing.create_reset(conn, anna.id, lifetime=0)
    with pytest.raises(Unauthenticated):
        signing.find_reset(conn, link)
    link = signing.create_reset(conn, anna.id)
    signing.change_password(conn, anna, PASSWORD, "another horse battery", 12)
    with pytest.raises(Unauthenticated):
        signing.find_reset(conn, link)
    with pytest.raises(Unauthenticated):
        signing.change_password(conn, anna, PASSWORD, "a third horse battery", 12)


def test_an_export_of_an_anonymous_user_needs_no_server_that_accepts_writes(
    conn: db.Connection,
) -> None:
    conn.execute("set default_transaction_read_only = on")
    accounts.record_export(conn, "documents")
    with as_identity(Identity("anna")), pytest.raises(Unavailable):
        accounts.record_export(conn, "documents")
