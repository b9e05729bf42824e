"""Users, tenants and API keys, on a real database as the app's role."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from forge_min import db
from forge_min.auth import Identity, accounts, credentials
from forge_min.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated, UsageError
from forge_min.ops import auth as command
from forge_min.testing import TestDatabase

pytestmark = pytest.mark.db
OTHER = "0190a0b0-1111-7222-8333-444455556666"  # a slug that were an id would be another's


@pytest.fixture
def conn(fresh_database: TestDatabase) -> Iterator[db.Connection]:
    with db.connect(fresh_database.app_url) as conn:
        yield conn


@pytest.fixture
def anna(conn: db.Connection) -> UUID:
    return accounts.create_user(conn, "Anna@Example.com", name="Anna", roles=["editor", "reader"])


def test_an_account_is_found_by_its_email_in_any_case_and_by_its_id(
    conn: db.Connection, anna: UUID
) -> None:
    found = accounts.find_user(conn, "ANNA@example.com")
    assert found == accounts.find_user(conn, str(anna))
    assert found.id == anna and found.email == "anna@example.com"
    assert found.roles == ["editor", "reader"] and not found.disabled
    with pytest.raises(NotFound) as caught:
        accounts.find_user(conn, "berta@example.com")
    assert caught.value.code == "F633"


def test_an_email_has_one_account(conn: db.Connection, anna: UUID) -> None:
    with pytest.raises(Conflict):
        accounts.create_user(conn, "anna@EXAMPLE.com")


@pytest.mark.parametrize(
    "email", ["", "a", "a@", "@b", "a b@c", "a@b\n", "a@b@c", "x" * 251 + "@b.c"]
)
def test_what_is_no_email_is_refused(conn: db.Connection, email: str) -> None:
    with pytest.raises(Invalid) as caught:
        accounts.create_user(conn, email)
    assert caught.value.code == "F631" and caught.value.errors[0].pointer == "/email"


@pytest.mark.parametrize("role", ["", "1st", "a b", "a,b", "x" * 64, "a'b"])
def test_what_is_no_name_of_a_role_is_refused(conn: db.Connection, anna: UUID, role: str) -> None:
    for call in (
        lambda: accounts.create_user(conn, "b@c.d", roles=[role]),
        lambda: accounts.grant(conn, anna, [role]),
        lambda: credentials.create_key(conn, anna, roles=[role]),
    ):
        with pytest.raises(Invalid) as caught:
            call()
        assert caught.value.code == "F631"


def test_roles_are_given_and_taken_each_once(conn: db.Connection, anna: UUID) -> None:
    assert accounts.grant(conn, anna, ["admin", "editor"]) == ("admin", "editor", "reader")
    assert accounts.ungrant(conn, anna, ["editor", "nobody"]) == ("admin", "reader")


def test_a_member_of_a_tenant_has_its_roles_there_alone(conn: db.Connection, anna: UUID) -> None:
    acme = accounts.create_tenant(conn, "acme", "Acme")
    accounts.create_tenant(conn, "other")
    secret = credentials.create_key(conn, anna)
    with pytest.raises(Forbidden):
        credentials.identify_key(conn, secret, "acme")
    assert accounts.grant(conn, anna, ["owner"], acme) == ("owner",)
    everywhere, there = (
        credentials.identify_key(conn, secret),
        credentials.identify_key(conn, secret, "ACME"),
    )
    assert everywhere.tenant is None and everywhere.roles == {"editor", "reader"}
    assert there.tenant == acme and there.roles == {"editor", "reader", "owner"}
    assert credentials.identify_key(conn, secret, str(acme)) == there
    for other in ("other", "nowhere", "acme'--"):
        with pytest.raises(Forbidden):
            credentials.identify_key(conn, secret, other)
    accounts.leave(conn, anna, acme)
    with pytest.raises(Forbidden):
        credentials.identify_key(conn, secret, "acme")
    with pytest.raises(NotFound):
        accounts.ungrant(conn, anna, ["owner"], acme)


@pytest.mark.parametrize("slug", ["", "A", "a--b", "-a", "a-", "a.b", "a b", "x" * 64, OTHER])
def test_a_slug_can_stand_in_an_address(conn: db.Connection, slug: str) -> None:
    with pytest.raises(Invalid) as caught:
        accounts.create_tenant(conn, slug)
    assert caught.value.code == "F631"


def test_a_slug_has_one_tenant(conn: db.Connection) -> None:
    accounts.create_tenant(conn, "acme")
    with pytest.raises(Conflict):
        accounts.create_tenant(conn, "acme", "Another")


def test_a_key_is_shown_once_and_only_its_digest_is_kept(conn: db.Connection, anna: UUID) -> None:
    secret = credentials.create_key(conn, anna, name="ci")
    assert secret.startswith("fmk_") and len(secret) == 47
    (row,) = conn.execute("select row_to_json(t)::text from forge_token t").fetchone()
    assert secret not in row and secret[10:] not in row
    (key,) = credentials.list_keys(conn, anna)
    assert (key.hint, key.name, key.roles, key.tenant) == (secret[:10], "ci", None, None)
    assert credentials.create_key(conn, anna) != secret


def test_who_has_the_key_is_the_user(conn: db.Connection, anna: UUID) -> None:
    secret = credentials.create_key(conn, anna)
    identity = credentials.identify_key(conn, secret)
    assert identity.user == str(anna) and identity.via == "api_key" and not identity.system
    assert identity.roles == {"editor", "reader"}
    for wrong in (secret + "x", secret[:-1], "fmk_", "", "fmk_\ud800", "fmk_\0"):
        with pytest.raises(Unauthenticated):
            credentials.identify_key(conn, wrong)


def test_a_key_has_no_role_that_its_user_has_not(conn: db.Connection, anna: UUID) -> None:
    secret = credentials.create_key(conn, anna, roles=["reader", "admin"])
    assert credentials.identify_key(conn, secret).roles == {"reader"}
    accounts.grant(conn, anna, ["admin"])
    assert credentials.identify_key(conn, secret).roles == {"reader", "admin"}
    accounts.ungrant(conn, anna, ["reader"])
    assert credentials.identify_key(conn, secret).roles == {"admin"}
    assert (
        credentials.identify_key(conn, credentials.create_key(conn, anna, roles=[])).roles
        == frozenset()
    )


def test_a_key_for_a_tenant_acts_in_no_other(conn: db.Connection, anna: UUID) -> None:
    acme, other = (accounts.create_tenant(conn, slug) for slug in ("acme", "other"))
    secret = credentials.create_key(conn, anna, tenant=acme)
    with pytest.raises(Forbidden):
        credentials.identify_key(conn, secret)  # no member any more, or not yet
    for tenant in (acme, other):
        accounts.grant(conn, anna, ["owner"], tenant)
    assert credentials.identify_key(conn, secret).tenant == acme
    assert credentials.identify_key(conn, secret, "acme").tenant == acme
    with pytest.raises(Forbidden):
        credentials.identify_key(conn, secret, "other")


def ended(conn: db.Connection, anna: UUID, how: str, secret: str) -> None:
    if how == "revoked":
        assert len(credentials.revoke_keys(conn, secret[:10])) == 1
    elif how == "expired":
        conn.execute("update forge_token set expires_at = now() - interval '1 ms'")
    elif how == "disabled":
        conn.execute("update forge_user set disabled_at = now()")
    else:
        conn.execute("delete from forge_user")


@pytest.mark.parametrize("how", ["revoked", "expired", "disabled", "deleted"])
def test_a_key_that_has_ended_stands_for_nobody(conn: db.Connection, anna: UUID, how: str) -> None:
    secret = credentials.create_key(conn, anna, lifetime=3600.0)
    identity = credentials.identify_key(conn, secret)
    assert credentials.renewed(conn, identity) == identity
    ended(conn, anna, how, secret)
    with pytest.raises(Unauthenticated):
        credentials.identify_key(conn, secret)
    assert credentials.renewed(conn, identity) is None


@pytest.mark.parametrize(
    "how",
    [
        "delete from forge_session",
        "update forge_session set expires_at = now() - interval '1 ms'",
        # Without `set_disabled`, which deletes the sessions too.
        "update forge_user set disabled_at = now()",
        "delete from forge_user",
    ],
)
def test_a_session_that_has_ended_stands_for_nobody(
    conn: db.Connection, anna: UUID, how: str
) -> None:
    secret = credentials.start_session(conn, anna, 3600.0, credentials.Browser())
    identity = credentials.identify_session(conn, secret)
    assert identity is not None and credentials.renewed(conn, identity) == identity
    conn.execute(how)
    assert credentials.identify_session(conn, secret) is None
    assert credentials.renewed(conn, identity) is None


def test_an_identity_is_renewed_with_what_it_is_by_now(conn: db.Connection, anna: UUID) -> None:
    acme = accounts.create_tenant(conn, "acme")
    accounts.grant(conn, anna, ["owner"], acme)
    there = credentials.identify_key(conn, credentials.create_key(conn, anna), "acme")
    accounts.ungrant(conn, anna, ["editor"])
    now = credentials.renewed(conn, there)
    assert isinstance(now, Identity) and now.roles == {"reader", "owner"} and now.tenant == acme
    accounts.leave(conn, anna, acme)
    assert credentials.renewed(conn, there) is None


def test_a_key_is_revoked_once(conn: db.Connection, anna: UUID) -> None:
    secret = credentials.create_key(conn, anna)
    (key,) = credentials.list_keys(conn, anna)
    assert len(credentials.revoke_keys(conn, str(key.id))) == 1
    with pytest.raises(NotFound) as caught:
        credentials.revoke_keys(conn, secret[:10])
    assert caught.value.code == "F633"


def test_use_is_written_once_a_minute_whoever_asks(
    fresh_database: TestDatabase, conn: db.Connection, anna: UUID
) -> None:
    secret = credentials.create_key(conn, anna)

    def ask(n: int) -> None:
        with db.connect(fresh_database.app_url) as own:
            for _ in range(20):
                credentials.identify_key(own, secret)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))
    (row,) = conn.execute("select seen_at from forge_token").fetchall()
    credentials.identify_key(conn, secret)
    assert conn.execute("select seen_at from forge_token").fetchall() == [row]
    conn.execute("update forge_token set seen_at = seen_at - interval '61 seconds'")
    credentials.identify_key(conn, secret)
    (again,) = conn.execute("select seen_at from forge_token").fetchall()
    assert again >= row


def asked(database: TestDatabase, user: UUID, lifetime: str = "") -> tuple[Any, Namespace]:
    """A project, and what `auth create-key` is given."""
    settings = SimpleNamespace(database=SimpleNamespace(url=database.app_url))
    settings.auth = SimpleNamespace(roles=())
    given = Namespace(does="create-key", of=[str(user)], role=[], name="ci", json=False)
    given.tenant, given.lifetime = "", lifetime
    return SimpleNamespace(config=settings), given


@pytest.mark.parametrize("lifetime", ["0s", "3651d", "99999999d", "999999999999d"])
def test_a_key_ends_within_ten_years_or_is_none(
    conn: db.Connection, anna: UUID, fresh_database: TestDatabase, lifetime: str
) -> None:
    with pytest.raises(UsageError):
        command.manage_accounts(*asked(fresh_database, anna, lifetime))
    assert command.manage_accounts(*asked(fresh_database, anna, "3650d")) == 0
    assert len(credentials.list_keys(conn, anna)) == 1


def test_a_key_that_was_shown_is_kept_where_nobody_reads_the_rest(
    conn: db.Connection, anna: UUID, fresh_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auth create-key … | head -1` with PYTHONUNBUFFERED, where the second line finds no pipe."""
    shown: list[str] = []

    def print_result(_: object, lines: Any, *, as_json: bool) -> None:
        shown.append(lines[0])
        raise BrokenPipeError

    monkeypatch.setattr(command, "print_result", print_result)
    with pytest.raises(BrokenPipeError):
        command.manage_accounts(*asked(fresh_database, anna))
    assert credentials.identify_key(conn, shown[0]).user == str(anna)
