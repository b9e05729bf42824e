"""Signing in over HTTP, by people, and by those who pretend to be them; tenants named in the path."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from artifact_runner import PYTHON, Process, Site
from forge_min import db
from forge_min.auth import accounts, signing
from forge_min.auth.credentials import digest
from forge_min.db import EmbeddedServer
from forge_min.testing import fresh_database
from openapi_spec_validator import validate
from person import Person
from wide_project import Migrations

pytestmark = [pytest.mark.db, pytest.mark.slow]
PASSWORD = "correct horse battery"
EMAIL = "anna@example.com"


@pytest.fixture
def site(
    wide_artifact: Path,
    wide_migrations: Migrations,
    server: EmbeddedServer,
    tmp_path: Path,
) -> Iterator[Site]:
    """The wide project with tenants in the path; anna is a member of north, and there is south."""
    with fresh_database(server, wide_migrations) as database:
        made = Site(wide_artifact, database, tmp_path)
        made.environ["FORGE_TENANCY_STRATEGY"] = "path"
        made.environ["FORGE_SSE_HEARTBEAT"] = "200ms"
        made.environ["FORGE_AUTH_IDLE_TIMEOUT"] = "1h"
        try:
            with db.connect(database.app_url) as conn:
                anna = accounts.create_user(conn, EMAIL, name="Anna")
                signing.set_password(conn, accounts.find_user(conn, EMAIL), PASSWORD, 12)
                north, _ = (accounts.create_tenant(conn, slug) for slug in ("north", "south"))
                accounts.grant(conn, anna, ["member", "manager"], north)
            made.process = made.serve(migrated=True)  # type: ignore[attr-defined]
            yield made
        finally:
            made.stop()


def auth(site: Site, *words: str, given: str = "") -> Any:
    done = subprocess.run(
        [*PYTHON, str(site.artifact), "auth", *words, "--json"], env=site.environ,
        input=given, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def user(site: Site, email: str, *options: str, password: str = PASSWORD) -> None:
    auth(site, "create-user", email, "--password", *options, given=f"{password}\n")


def signed_in(site: Site, email: str = EMAIL, password: str = PASSWORD) -> Person:
    person = Person(site.port)
    person.get("/account/sign-in")
    person.send({"email": email, "password": password})
    return person


@pytest.mark.thorough
def test_the_document_names_the_tenants_place(site: Site) -> None:
    below = json.loads(site.ask("GET", "/t/north/api/openapi.json")[2])
    assert below["servers"] == [{"url": "/t/north"}]
    document = json.loads(site.ask("GET", "/api/openapi.json")[2])
    validate(document)
    pattern, here = document["servers"]
    assert (pattern["url"], here["url"]) == ("/t/{tenant}", "/")
    assert pattern["variables"].keys() == {"tenant"}
    # What stands before the paths leads to the tenant's rows: nobody is asked who they are.
    assert site.ask("GET", below["servers"][0]["url"] + "/api/v1/tags")[0] == 401


@pytest.mark.thorough
def test_who_may_not_read_is_asked_to_sign_in_and_comes_back(site: Site) -> None:
    person = Person(site.port)
    page = person.get("/t/north/accounts?sort=name")
    assert page.status == 200 and "Sign in" in page.text
    assert person.at.startswith("/t/north/account/sign-in?next=")
    page = person.send({"email": "ANNA@example.com ", "password": PASSWORD})
    assert person.at == "/t/north/accounts?sort=name" and page.status == 200
    assert "Anna" in page.links and page.links["Accounts"] == "/t/north/accounts"
    # What is made there belongs to the tenant, and links stay below it.
    person.click("New")
    page = person.send({"slug": "first", "name": "First"})
    assert "Created." in page.text and person.at.startswith("/t/north/accounts/")
    assert "First" not in person.get("/t/north/orders").links
    status, headers, _ = site.ask(
        "POST", "/t/north/api/v1/tags", {"name": "red"}, Sec_Fetch_Site="same-origin",
        Cookie=f"forge_session={person.cookies['forge_session']}",
    )  # fmt: skip
    assert status == 201 and headers["location"].startswith("/t/north/api/v1/tags/")
    assert site.ask("GET", headers["location"], Cookie=cookies(person))[0] == 200
    # Not a member there, and nobody at the top; who is no member can still sign out.
    assert person.get("/t/south/account").status == 200
    assert "member" not in person.page.text and "Accounts" not in person.page.links
    assert person.get("/account").status == 200 and "member" not in person.page.text
    assert "manager, member" in person.get("/t/north/account").text
    assert person.page.links["Accounts"] == "/t/north/accounts"
    for path in ("/t/north/%ff", "/t/%ff", "/t/%00/accounts", "/t//accounts"):
        assert person.get(path).status in (303, 400, 403, 404), path
    assert person.get("/t/south/accounts").status == 403
    assert "text/html" in person.page.headers["Content-Type"]
    assert person.get("/accounts").status == 403


def cookies(person: Person) -> str:
    return "; ".join(f"{name}={value}" for name, value in person.cookies.items())


@pytest.mark.thorough
def test_the_cookie_is_a_new_one_each_time_and_no_script_reads_it(site: Site) -> None:
    person, line = signed_in(site), session_line(site)
    assert "HttpOnly" in line and "SameSite=Lax" in line and "Path=/" in line
    assert "Max-Age=86400" in line and "Secure" not in line
    first = person.cookies["forge_session"]
    person.get("/account/sign-in")
    person.send({"email": EMAIL, "password": PASSWORD})
    assert person.cookies["forge_session"] != first
    old = Person(site.port)
    old.cookies = {"forge_session": first}
    assert "Anna" not in old.get("/classes").links, "the session that the browser had has ended"


def session_line(site: Site) -> str:
    person = Person(site.port)
    person.get("/account/sign-in")
    pairs = {"email": EMAIL, "password": PASSWORD} | dict(person.page.form.fields[:1])
    body = "&".join(f"{k}={v.replace(' ', '+').replace('@', '%40')}" for k, v in pairs.items())
    page = person.ask("POST", "/account/sign-in", body.encode(), follow=False)
    assert page.status == 303
    return str(page.headers["Set-Cookie"])


@pytest.mark.thorough
def test_in_production_the_cookie_is_for_https_alone_and_bound_to_its_host(site: Site) -> None:
    assert site.process.stop() == 0  # type: ignore[attr-defined]
    site.serve(FORGE_ENV="production", FORGE_AUTH_SECRET="s" * 32)
    person = Person(site.port)
    person.get("/account/sign-in")
    assert list(person.cookies) == ["__Host-forge_csrf"]
    page = person.send({"email": EMAIL, "password": PASSWORD})
    assert "Anna" in page.links and "__Host-forge_session" in person.cookies
    person.cookies = {"forge_session": person.cookies["__Host-forge_session"]}
    assert "Anna" not in person.get("/classes").links, "one that was set over HTTP"


@pytest.mark.thorough
def test_a_session_cannot_be_fixed_or_guessed_and_a_wrong_one_is_nobodys(site: Site) -> None:
    person = Person(site.port)
    for value in ("", "x", "A" * 43, "forge", "' or 1=1 --", "%00"):
        person.cookies = {"forge_session": value}
        assert person.get("/classes").status == 200 and "Sign in" in person.page.links
    person.cookies = {"forge_session": "mine-from-the-start"}
    person.get("/account/sign-in")
    person.send({"email": EMAIL, "password": PASSWORD})
    assert person.cookies["forge_session"] != "mine-from-the-start"


@pytest.mark.thorough
def test_a_wrong_password_says_no_more_than_no_account_and_too_many_have_to_wait(
    site: Site,
) -> None:
    person, said = Person(site.port), set()
    for email in (EMAIL, "nobody@example.com"):
        person.get("/account/sign-in")
        page = person.send({"email": email, "password": "wrong horse battery"})
        assert page.status == 401 and dict(page.form.fields)["email"] == email
        said.add(re.sub(r'value="[^"]*"', "", page.body.decode()))
    assert len(said) == 1
    for _ in range(4):
        page = person.send({"email": EMAIL, "password": "wrong horse battery"})
    page = person.send({"email": EMAIL, "password": PASSWORD})
    assert page.status == 429 and int(page.headers["Retry-After"]) >= 1
    assert "too many attempts" in page.text and "forge_session" not in person.cookies


@pytest.mark.thorough
def test_who_gives_a_wrong_present_password_too_often_hears_when_to_try_again(site: Site) -> None:
    person = signed_in(site)
    person.get("/account/password")
    given = dict.fromkeys(("password", "again"), "another battery horse")
    statuses = [person.send({**given, "current": "wrong"}).status for _ in range(6)]
    assert statuses == [403] * 5 + [429] and int(person.page.headers["Retry-After"]) >= 1


def test_a_session_is_seen_and_ended_from_another_place(site: Site) -> None:
    here, there = signed_in(site), signed_in(site)
    assert there.get("/t/north/accounts").status == 200
    page = here.get("/account")
    sessions, _, history = page.text.partition("History")
    assert sessions.count("127.0.0.1") == history.count("127.0.0.1") == 2 and EMAIL in page.text
    (form, *_) = [f for f in page.forms if any(v for n, v in f.fields if n == "session")]
    page = here.send(form=form)
    sessions = page.text.partition("History")[0]
    assert "Signed out there." in page.text and sessions.count("127.0.0.1") == 1
    assert "Sign in" in there.get("/classes").links
    there = signed_in(site)
    here.get("/account")
    here.send(form=here.page.forms[-1], button="Sign out everywhere else")
    assert "Sign in" in there.get("/classes").links
    assert "Anna" in here.get("/classes").links
    out = next(f for f in here.page.forms if f.action.endswith("/sign-out"))
    page = here.send(form=out)
    assert "forge_session" not in here.cookies and "Sign in" in page.links


@pytest.mark.thorough
def test_who_is_signed_in_reads_a_page_when_the_database_is_gone(
    site: Site, server: EmbeddedServer
) -> None:
    person = signed_in(site)
    name = site.environ["FORGE_DATABASE_URL"].split("dbname=")[1].split()[0]
    shut = f"alter database {name} allow_connections false"
    end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and usename = user"
    with (
        db.connect(server.owner_url) as conn,
        db.connect(site.environ["FORGE_DATABASE_URL"]) as app,
    ):
        try:
            conn.execute(shut)
            app.execute(f"{end} and pid <> pg_backend_pid()", [name])
            for path in ("/account", "/", "/nowhere"):
                page = person.get(path)
                assert page.status == 503 and "text/html" in page.headers["Content-Type"], path
                assert page.headers["Retry-After"] and page.headers["Vary"] == "Accept"
            assert person.get("/static/forge/forge.css").status == 200
        finally:
            conn.execute(shut.replace("false", "true"))


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["signed out", "idle"])
def test_a_stream_ends_with_the_session_that_opened_it(site: Site, how: str) -> None:
    person = signed_in(site)
    conn = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    conn.request("GET", "/t/north/events?topic=accounts", headers={"Cookie": cookies(person)})
    stream = conn.getresponse()
    assert stream.status == 200
    if how == "idle":
        with db.connect(site.environ["FORGE_DATABASE_URL"]) as database:
            database.execute("update forge_session set expires_at = expires_at - interval '61 min'")
    else:
        person.get("/account")
        person.send(form=next(f for f in person.page.forms if f.action.endswith("/sign-out")))
    assert b'"expired"' in stream.read()
    conn.close()


@pytest.mark.thorough
def test_a_disabled_account_is_out_at_once_until_it_is_enabled(site: Site) -> None:
    secret = auth(site, "create-key", EMAIL, "--tenant", "north")["key"]

    def by_key() -> int:
        return site.ask("GET", "/api/v1/accounts", Authorization=f"Bearer {secret}")[0]

    person, link = signed_in(site), auth(site, "reset-password", EMAIL)["path"]
    conn = HTTPConnection("127.0.0.1", site.port, timeout=20)
    headers = {"Cookie": cookies(person)}
    conn.request("GET", "/t/north/events?topic=accounts", headers=headers)
    stream = conn.getresponse()
    assert (stream.status, by_key()) == (200, 200)
    assert auth(site, "disable", EMAIL) == {"email": EMAIL, "disabled": True}
    assert b'"expired"' in stream.read()
    assert by_key() == 401 and site.ask("GET", link)[0] == 401
    assert "Sign in" in person.get("/account").text
    assert "email or password is wrong" in signed_in(site).page.text
    auth(site, "disable", EMAIL)
    (shown,) = auth(site, "list-users")
    assert shown["disabled"] and shown["tenants"] == {"north": ["manager", "member"]}
    assert auth(site, "enable", EMAIL)["disabled"] is False
    assert by_key() == 200 and "Anna" in signed_in(site).page.links
    assert "Sign in" in person.get("/account").text, "a session does not come back"


@pytest.mark.thorough
def test_an_operator_lists_accounts_and_tenants_and_sets_a_time_zone(site: Site) -> None:
    auth(site, "create-user", "berta@example.com", "--role", "admin")
    assert [one["email"] for one in auth(site, "list-users")] == [EMAIL, "berta@example.com"]
    assert [one["email"] for one in auth(site, "list-users", "--tenant", "north")] == [EMAIL]
    assert auth(site, "list-users", "--tenant", "south") == []
    found = [(one["slug"], one["members"]) for one in auth(site, "list-tenants")]
    assert found == [("north", 1), ("south", 0)]
    lines = site.run("auth", "list-users").stdout.splitlines()
    assert lines[0].endswith(f"{EMAIL}  roles: none  in north: manager, member")
    assert "enabled" in lines[1] and lines[1].endswith("roles: admin")
    assert "north" in site.run("auth", "list-tenants").stdout

    auth(site, "set-time-zone", EMAIL, "Asia/Tokyo")
    assert auth(site, "list-users")[0]["time_zone"] == "Asia/Tokyo"
    for words, hint in (
        (("set-time-zone", EMAIL, "Asia/Tokio"), "did you mean Asia/Tokyo?"),
        (("set-time-zone", EMAIL, "../UTC"), "hint: "),
        (("set-time-zone", EMAIL), "auth --help shows an example"),
        (("disable",), "auth --help shows an example"),
        (("list-users", EMAIL), "auth --help shows an example"),
        (("list-tenants", "north"), "auth --help shows an example"),
    ):
        done = site.run("auth", *words)
        assert done.returncode == 2 and hint in done.stderr, (words, done.stderr)
    done = site.run("auth", "disable", "nobody@example.com")
    assert done.returncode == 1 and "error[F633]" in done.stderr
    assert "hint: auth list-users" in done.stderr


@pytest.mark.thorough
def test_what_another_site_makes_a_browser_send_is_refused(site: Site) -> None:
    person = signed_in(site)
    cookie = {"Cookie": cookies(person)}
    tags = "/t/north/api/v1/tags"

    def post(**headers: str) -> int:
        return site.ask("POST", tags, {"name": f"tag {len(headers)}"}, **cookie, **headers)[0]

    assert post() == 403, "a cookie, and nothing that says where the request comes from"
    assert post(Origin="http://evil.example") == 403
    assert post(Origin="null") == 403
    assert post(Sec_Fetch_Site="cross-site") == 403
    assert post(Sec_Fetch_Site="same-site") == 403
    assert post(Origin=f"http://127.0.0.1:{site.port}") == 201
    token = dict(person.get("/account").forms[0].fields)["_csrf_token"]
    assert site.ask("POST", tags, {"name": "with"}, **cookie, X_CSRF_Token=token)[0] == 201
    other = signed_in(site)
    stolen = dict(other.get("/account").forms[0].fields)["_csrf_token"]
    assert site.ask("POST", tags, {"name": "no"}, **cookie, X_CSRF_Token=stolen)[0] == 403
    # Without a cookie nothing is gained: programs need none of it.
    assert site.ask("POST", "/api/v1/classes", {"code": "AB", "class": "x"})[0] == 201
    # Nobody is signed in by another site.
    stranger = Person(site.port)
    body = f"email=anna%40example.com&password={PASSWORD.replace(' ', '+')}".encode()
    assert stranger.ask("POST", "/account/sign-in", body, follow=False).status == 403


@pytest.mark.thorough
def test_two_tabs_in_two_tenants_write_where_they_were_opened(site: Site) -> None:
    auth(site, "grant", EMAIL, "member", "manager", "--tenant", "south")
    north = signed_in(site)
    south = Person(site.port)
    south.cookies = north.cookies  # another tab of the same browser
    for tab, slug in ((north, "north"), (south, "south")):
        tab.get(f"/t/{slug}/accounts/new")
    for tab, slug in ((south, "south"), (north, "north")):
        page = tab.send({"slug": slug, "name": slug.title()})
        assert "Created." in page.text and tab.at.startswith(f"/t/{slug}/accounts/")
    for slug, other in (("north", "South"), ("south", "North")):
        page = north.get(f"/t/{slug}/accounts")
        assert slug.title() in page.links and other not in page.links


@pytest.mark.thorough
def test_nobody_is_led_elsewhere_after_signing_in(site: Site) -> None:
    evil = ("//evil.example/", "https://evil.example", "/\\evil.example")
    for following in (*evil, "javascript:alert(1)", "\t//x"):
        person = Person(site.port)
        person.get("/account/sign-in")
        person.send({"email": EMAIL, "password": PASSWORD, "next": following})
        assert person.at == "/t/north/" and person.page.status == 200, following


@pytest.mark.thorough
def test_a_password_is_changed_by_who_knows_it(site: Site) -> None:
    person, other = signed_in(site), signed_in(site)
    person.get("/account/password")
    fresh = "another horse battery"
    page = person.send({"current": "wrong", "password": fresh, "again": fresh})
    assert page.status == 403 and "current password is wrong" in page.text
    page = person.send({"current": PASSWORD, "password": fresh, "again": "x"})
    assert page.status == 422 and "differ" in page.text
    page = person.send({"current": PASSWORD, "password": "short", "again": "short"})
    assert page.status == 422 and "12 or more" in page.text
    page = person.send({"current": PASSWORD, "password": fresh, "again": fresh})
    assert page.status == 200 and EMAIL in page.text
    assert "Sign in" in other.get("/classes").links, "other sessions have ended"
    assert "Anna" in signed_in(site, password=fresh).page.links


@pytest.mark.thorough
def test_a_lost_password_is_replaced_by_a_link_that_an_operator_or_a_mail_gives(
    site: Site,
) -> None:
    process: Process = site.process  # type: ignore[attr-defined]
    person = Person(site.port)
    person.get("/account/sign-in")
    asking = person.click("Forgot your password?").form
    said = [person.send({"email": email}).text for email in (EMAIL, "nobody@example.com")]
    assert said[0] == said[1]
    id = json.loads(site.run("auth", "create-user", "berta@example.com", "--json").stdout)["id"]
    assert person.send({"email": id}).text == said[0], "an id is no email"
    assert "berta" not in process.log
    process.wait_for(
        lambda: "wide for anna@example.com: /account/reset?key=" in process.log, "mail"
    )
    mailed = re.findall(r"/account/reset\?key=\S+", process.log)
    assert len(mailed) == 1
    printed = auth(site, "reset-password", EMAIL)["path"]
    for link in (printed, mailed[0]) * 2:  # looking at it uses nothing up
        assert person.get(link).status == 200
    person.send({"email": EMAIL}, form=asking)
    process.wait_for(lambda: process.log.count("/account/reset?key=") == 2, "another mail")
    assert person.get(printed).status == 200, "nobody who asks for a link ends another"
    fresh = "another horse battery"
    assert person.send({"password": "short", "again": "short"}).status == 422
    page = person.send({"password": fresh, "again": fresh})
    assert "The password is changed" in page.text and person.at.startswith("/account/sign-in")
    for link in (printed, *re.findall(r"/account/reset\?key=\S+", process.log)):
        assert person.get(link).status == 401, "with one all have ended"
    assert "used, expired or unknown" in person.page.text
    assert "Anna" in signed_in(site, password=fresh).page.links
    assert urlsplit(printed).query.split("=")[1] not in process.log, "paths are logged, no queries"
    auth(site, "reset-password", EMAIL, "--set", given="a third horse battery\n")
    assert "Anna" in signed_in(site, password="a third horse battery").page.links


def attackers_address(n: int) -> str:
    return f"10.9.{n // 250}.{n % 250}"


class Attacker:
    """Guesses the password of one account from many addresses, as fast as the site answers."""

    def __init__(self, site: Site, addresses: int, threads: int = 8) -> None:
        person = Person(site.port)
        token = dict(person.get("/account/sign-in").form.fields)["_csrf_token"]
        self._headers = {
            "Content-Type": "application/x-www-form-urlencoded", "Cookie": cookies(person),
        }  # fmt: skip
        self._body = urlencode({"_csrf_token": token, "email": EMAIL, "password": "a wrong one"})
        self._port, self._next = site.port, itertools.cycle(range(addresses))
        self._stop = threading.Event()
        self.refused = threading.Event()
        self.statuses: Counter[int] = Counter()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Attacker:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        conn = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stop.is_set():
            n = next(self._next)
            headers = {**self._headers, "X-Forwarded-For": attackers_address(n)}
            conn.request("POST", "/account/sign-in", self._body, headers)
            answer = conn.getresponse()
            answer.read()
            self.statuses[answer.status] += 1
            if answer.status in (429, 503):
                self.refused.set()
        conn.close()


def signs_in(person: Person, within: int) -> None:
    """A person who tries again once a second is let in by so many tries, and so within about as
    many seconds; not counted in seconds, which a busy machine has not enough of.
    """
    statuses = []
    for _ in range(within):
        person.get("/account/sign-in")
        page = person.send({"email": EMAIL, "password": PASSWORD})
        if "Anna" in page.links:
            return
        statuses.append(page.status)
        threading.Event().wait(1.0)
    raise AssertionError(statuses)


@pytest.mark.thorough
@pytest.mark.parametrize("addresses", [1, 1_000])
def test_the_owner_signs_in_while_strangers_guess_as_fast_as_they_may(
    site: Site, addresses: int
) -> None:
    assert site.process.stop() == 0  # type: ignore[attr-defined]
    site.serve(migrated=True, FORGE_SERVER_TRUSTED_PROXIES='["127.0.0.1"]')
    known = Person(site.port, X_Forwarded_For="10.1.0.1")
    signs_in(known, 1)
    device = {name: value for name, value in known.cookies.items() if "device" in name}
    # All but 20 have had their tries: each costs the site the check of a password.
    fresh_ones = min(addresses, 20)
    account = digest(EMAIL).hex()
    spent = [f"first {account} {attackers_address(n)}" for n in range(fresh_ones, addresses)]
    with db.connect(site.environ["FORGE_DATABASE_URL"]) as conn:
        conn.execute(
            "insert into forge_throttle select key, now() + '1 day', '0' from unnest(%s::text[]) key",
            [spent],
        )
    begun = time.monotonic()
    with Attacker(site, addresses) as attacker:
        assert attacker.refused.wait(600)
        for n in range(2, 5):
            known = Person(site.port, X_Forwarded_For=f"10.1.0.{n}")
            known.cookies = dict(device)
            signs_in(known, 2)
            fresh = Person(site.port, X_Forwarded_For=f"10.2.0.{n}")
            signs_in(fresh, 50)
        hours = (time.monotonic() - begun) / 3600
    one = signing.HERE.free + hours * 60
    first = signing.FIRST.free + hours * 3600 / signing.FIRST.every
    many = signing.ACCOUNT.free + hours * 60 + fresh_ones * first
    assert attacker.statuses[401] <= min(one * addresses, many) + 1
    assert attacker.statuses.keys() <= {401, 429, 503}
