"""Signing in through the whole application, in this process: cookies of devices, missing HTTPS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID

import pytest
from forge_min import db
from forge_min.auth import SYSTEM, accounts, administration, as_identity, credentials, signing
from forge_min.testing import Client, TestDatabase, running_app

pytestmark = pytest.mark.db
EMAIL, PASSWORD = "anna@example.com", "correct horse battery"
SECRET = "s" * 32
FORM = "application/x-www-form-urlencoded"


class Browser:
    """Keeps cookies, and sends the form of the page that it has got."""

    def __init__(self, client: Client, **headers: str) -> None:
        self._client = client
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.cookies: dict[str, str] = {}
        self.fields: dict[str, str] = {}
        self.text = self.location = ""

    def get(self, path: str) -> int:
        return self._ask("GET", path)

    def send(self, path: str, **values: str) -> int:
        return self._ask("POST", path, urlencode({**self.fields, **values}).encode())

    def _ask(self, method: str, path: str, body: bytes = b"") -> int:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {**self._headers, "Cookie": cookies, **({"Content-Type": FORM} if body else {})}
        answer = self._client.request(method, path, body=body, headers=headers)
        for line in answer.headers.get_all("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        self.text, self.location = answer.text, answer.headers["Location"] or ""
        found = re.findall(r'name="(_csrf_token|key|next)" value="([^"]+)"', self.text)
        self.fields = dict(found) or self.fields
        return answer.status


@contextmanager
def site(database: TestDatabase, **environ: str) -> Iterator[tuple[Client, db.Connection]]:
    __import__("app")
    with db.connect(database.app_url) as conn:
        accounts.create_user(conn, EMAIL)
        signing.set_password(conn, accounts.find_user(conn, EMAIL), PASSWORD, 12)
        with running_app(database, FORGE_AUTH_SECRET=SECRET, **environ) as running:
            yield Client(running), conn


def test_a_browser_that_knew_the_password_is_a_known_device(
    wide_code: Path, wide_database: TestDatabase
) -> None:
    with site(wide_database) as (client, conn):

        def known(browser: Browser) -> bool:
            cookie = browser.cookies["forge_device"]
            return bool(signing.find_device(conn, SECRET.encode(), cookie, EMAIL))

        browser, other = Browser(client), Browser(client)
        for one in (browser, other):
            one.get("/account/sign-in")
            assert one.send("/account/sign-in", email=EMAIL, password="wrong") == 401
            assert "forge_device" not in one.cookies
            assert one.send("/account/sign-in", email=EMAIL, password=PASSWORD) == 303
            assert known(one)
        browser.get("/account/password")
        fresh = "another horse battery"
        sent = {"current": PASSWORD, "password": fresh, "again": fresh}
        assert browser.send("/account/password", **sent) == 303
        assert known(browser) and not known(other)
        anna = accounts.find_user(conn, EMAIL)
        other.get(f"/account/reset?key={signing.create_reset(conn, anna.id)}")
        assert other.send("/account/reset", password=PASSWORD, again=PASSWORD) == 303
        assert known(other) and not known(browser)
        # Strangers have used up the account's tries, and those of this address.
        conn.execute(
            "update forge_throttle set until = now() + '1 day' where key not like 'correct %%'"
        )
        assert other.get("/account/sign-in") == 200
        assert other.send("/account/sign-in", email=EMAIL, password=PASSWORD) == 303
        browser.get("/account/sign-in")
        assert browser.send("/account/sign-in", email=EMAIL, password=PASSWORD) == 429


def test_a_new_password_also_revokes_the_keys_of_the_account_if_the_user_asks_for_it(
    wide_code: Path, wide_database: TestDatabase
) -> None:
    offer = "Also revoke the API keys of this account"
    with site(wide_database) as (client, conn):
        anna, bob = accounts.find_user(conn, EMAIL).id, accounts.create_user(conn, "bob@x.de")
        north = accounts.create_tenant(conn, "north")
        accounts.grant(conn, anna, [], north)

        def valid(user: UUID) -> list[str]:
            keys = credentials.list_keys(conn, user)
            return [key.name for key in keys if key.revoked_at is None]

        browser = Browser(client)
        browser.get("/account/sign-in")
        assert browser.send("/account/sign-in", email=EMAIL, password=PASSWORD) == 303
        browser.get("/account/password")
        assert offer not in browser.text, "there are none"
        for name, lifetime, tenant in (
            ("till", None, north),
            ("script", 600.0, None),
            ("old", -1.0, None),
        ):
            credentials.create_key(conn, anna, name=name, lifetime=lifetime, tenant=tenant)
        credentials.create_key(conn, bob, name="bob's")
        browser.get("/account/password")
        assert f"{offer}: 3" in browser.text
        fresh = "another horse battery"
        sent = {"password": fresh, "again": fresh}
        assert browser.send("/account/password", current=PASSWORD, **sent) == 303
        assert valid(anna) == ["till", "script", "old"], "they stay unless the user decides"
        browser.get("/account/password")
        assert browser.send("/account/password", current="wrong", keys="all", **sent) == 403
        assert len(valid(anna)) == 3 and offer in browser.text
        browser.get(f"/account/reset?key={signing.create_reset(conn, anna)}")
        assert f"{offer}: 3" in browser.text
        assert browser.send("/account/reset", keys="all", password="x", again="x") == 422
        assert len(valid(anna)) == 3
        assert browser.send("/account/reset", keys="all", **sent) == 303
        assert valid(anna) == [] and valid(bob) == ["bob's"]
        with as_identity(SYSTEM):
            changes = administration.Administrator(conn).history(anna)
        names = [name for change in changes for name in change.changes if "key" in name]
        assert sorted(names) == ["key", "key", "key:north"]
        assert {change.actor for change in changes} == {str(anna)}


def test_without_https_the_page_and_the_log_say_so(
    wide_code: Path, wide_database: TestDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    with site(wide_database, FORGE_ENV="production") as (client, _):
        plain = Browser(client)
        plain.get("/account/sign-in")
        assert "HTTPS is missing" in plain.text
        plain.cookies.clear()  # as a browser does with what is for HTTPS
        assert plain.send("/account/sign-in", email=EMAIL, password=PASSWORD) == 403
        assert "F649" in plain.text and "HTTPS is missing" in plain.text
        assert "because HTTPS is missing" in caplog.text
        for sent in ({"Sec_Fetch_Site": "same-origin"}, {"X_Forwarded_Proto": "https"}):
            secure = Browser(client, **sent)
            secure.get("/account/sign-in")
            assert "HTTPS" not in secure.text
            assert secure.send("/account/sign-in", email=EMAIL, password=PASSWORD) == 303
            assert "__Host-forge_device" in secure.cookies
            secure.cookies.clear()
            assert secure.send("/account/sign-in", email=EMAIL, password=PASSWORD) == 403
            assert "F527" in secure.text, "its form is too old"


def test_a_member_of_one_tenant_gets_there_and_of_several_chooses(
    wide_code: Path, wide_database: TestDatabase
) -> None:
    with site(wide_database, FORGE_TENANCY_STRATEGY="path") as (client, conn):
        user = accounts.find_user(conn, EMAIL).id
        browser = Browser(client)

        def sign_in(at: str = "", of: str = "") -> str:
            browser.get(f"{at}/account/sign-in{of}")
            assert browser.send(f"{at}/account/sign-in", email=EMAIL, password=PASSWORD) == 303
            return browser.location

        assert sign_in() == sign_in(of="?next=%2F") == "/account/tenants"
        assert sign_in(of="?next=%2Faccount") == "/account"
        assert browser.get("/account/tenants") == 303 and browser.location == "/"
        assert browser.get("/") == 200
        north, south = (accounts.create_tenant(conn, n, n.title()) for n in ("north", "south"))
        accounts.grant(conn, user, ["member"], north)
        assert browser.get("/") == 303 and browser.location == "/account/tenants"
        assert browser.get("/account/tenants") == 303 and browser.location == "/t/north/"
        accounts.grant(conn, user, ["member"], south)
        assert browser.get("/account/tenants") == 200
        assert '<a href="/t/south/">South</a>' in browser.text
        assert browser.get("/t/south/") == 200
        switch = '<a href="/t/south/account/tenants" title="Change the tenant">Tenant: south</a>'
        assert switch in browser.text
        browser.get("/t/south/account/tenants")
        assert '<a href="/t/north/">North</a>' in browser.text
        assert sign_in("/t/north") == "/t/north/"


def test_a_user_sets_a_time_zone_and_a_language(
    wide_code: Path, wide_database: TestDatabase
) -> None:
    with site(wide_database) as (client, conn):
        browser = Browser(client)
        browser.get("/account/sign-in")
        browser.send("/account/sign-in", email=EMAIL, password=PASSWORD)
        assert browser.get("/account") == 200 and '<option value=""  selected' in browser.text
        assert browser.send("/account/settings", zone="Europe/Berlin", language="") == 303
        assert browser.get("/account") == 200 and "Saved." in browser.text
        assert accounts.find_user(conn, EMAIL).time_zone == "Europe/Berlin"
        browser.get("/account")
        assert "Saved." not in browser.text
        for zone, language in (("Mars/Base", ""), ("UTC", "xx"), ("no", "")):
            assert browser.send("/account/settings", zone=zone, language=language) == 400
        assert accounts.find_user(conn, EMAIL).time_zone == "Europe/Berlin"


def test_a_user_sees_what_was_done_with_the_account(
    wide_code: Path, wide_database: TestDatabase
) -> None:
    """The page of the account has sign-ins, also failed ones, ended sessions and exports."""
    with site(wide_database) as (client, _):
        browser, other = Browser(client), Browser(client)
        browser.get("/account/sign-in")
        browser.send("/account/sign-in", email=EMAIL, password="wrong")
        for one in (browser, other):
            one.get("/account/sign-in")
            assert one.send("/account/sign-in", email=EMAIL, password=PASSWORD) == 303
        assert other.get("/documents.csv") == 200
        other.get("/")
        assert other.send("/account/sign-out") == 303
        browser.get("/account")
        history = browser.text.partition("<h2>History</h2>")[2]
        plain = re.sub("<[^>]+>", "", history)
        entries = [line for line in plain.splitlines() if "just now" in line]
        assert [entry.replace(EMAIL, "anna") for entry in entries] == [
            "anna ended the session from 127.0.0.1, just now",
            "anna exported documents, just now",
            "anna signed in from 127.0.0.1, just now",
            "anna signed in from 127.0.0.1, just now",
            "Failed sign-in from 127.0.0.1, just now",
        ]


def test_pages_warn_of_the_end_of_an_idle_session_that_only_a_user_prolongs(
    wide_code: Path, wide_database: TestDatabase
) -> None:
    with site(wide_database, FORGE_AUTH_IDLE_TIMEOUT="15m") as (client, conn):
        browser, script = Browser(client), Browser(client, Forge_Background="1")
        browser.get("/account/sign-in")
        assert "data-idle" not in browser.text
        assert browser.send("/account/sign-in", email=EMAIL, password=PASSWORD) == 303
        assert browser.get("/account") == 200 and 'data-idle="900.0"' in browser.text
        script.cookies = browser.cookies
        for one, path, counts in (
            (browser, "/account", True),
            (script, "/account", False),
            (browser, "/events?topic=documents", False),
        ):
            conn.execute("update forge_session set seen_at = now() - interval '5 minutes'")
            one.get(path)
            seen = "select seen_at > now() - interval '1 minute' from forge_session"
            assert conn.execute(seen).fetchall() == [(counts,)], path
        conn.execute("update forge_session set seen_at = now() - interval '17 minutes'")
        assert browser.get("/account") == 401


def test_only_forms_of_our_pages_are_kept_while_one_signs_in(
    wide_code: Path, wide_database: TestDatabase
) -> None:
    with site(wide_database) as (client, _):
        for site_of, status in (("same-origin", 401), ("cross-site", 403)):
            browser = Browser(client, Accept="text/html", Sec_Fetch_Site=site_of)
            assert browser.send("/courses/new", title="Algebra") == status
            kept = 'name="kept.title" value="Algebra"' in browser.text
            assert kept == (site_of == "same-origin")
        browser = Browser(client, Accept="text/html", Sec_Fetch_Site="same-origin")
        assert browser.send("/accounts/new", name="x") == 401 and "kept.name" in browser.text
        browser.cookies["forge_session"] = "one that has ended"
        browser.fields["_csrf_token"] = "of that session"
        assert browser.send("/courses/-/selected", operation="delete", key="1") == 401
        assert "kept.operation" in browser.text
        assert browser.send("/courses/new", title="x" * 300_000) == 303, "too long to be kept"
        unknown = Browser(client, Accept="text/html")
        assert unknown.send("/courses/new", title="Algebra") == 303, "as of a program"
        browser = Browser(client, Accept="text/html", Sec_Fetch_Site="same-origin")
        browser.send("/account/password", current="secret")
        assert "secret" not in browser.text
        browser.get("/account/sign-in")
        fields = {"kept.title": '"><script>', "kept.seats": "7", "next": "//evil.example/"}
        sent = {"email": EMAIL, "password": PASSWORD, **fields}
        assert browser.send("/account/sign-in", **sent) == 200
        assert "<script>" not in browser.text and "evil.example" not in browser.text
        assert "<dt>Seats</dt><dd>7</dd>" in browser.text
