"""The pages of administrators, from the built artifact, by browsers without scripts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from artifact_runner import Process, Site
from forge_min import db
from forge_min.auth import accounts, credentials, signing
from forge_min.db import EmbeddedServer
from forge_min.testing import fresh_database
from person import Page, Person
from wide_project import Migrations

pytestmark = [pytest.mark.db, pytest.mark.slow]
PASSWORD = "correct horse battery"


@pytest.fixture
def site(
    wide_artifact: Path, wide_migrations: Migrations, server: EmbeddedServer, tmp_path: Path
) -> Iterator[Site]:
    """Anna administers all tenants, nora the north, where nick is a member."""
    with fresh_database(server, wide_migrations) as database:
        made = Site(wide_artifact, database, tmp_path)
        made.environ |= {"FORGE_TENANCY_STRATEGY": "path", "FORGE_SSE_HEARTBEAT": "200ms"}
        try:
            with db.connect(database.app_url) as conn:
                north, _ = (accounts.create_tenant(conn, slug) for slug in ("north", "south"))
                for name in ("anna", "nora", "nick"):
                    id = accounts.create_user(conn, f"{name}@example.com", name=name.title())
                    user = accounts.find_user(conn, str(id))
                    signing.set_password(conn, user, PASSWORD, 12)
                    roles = ["member"] if name == "nick" else ["admin", "member", "manager"]
                    accounts.grant(conn, id, roles, None if name == "anna" else north)
            made.process = made.serve(migrated=True)  # type: ignore[attr-defined]
            yield made
        finally:
            made.stop()


def signed_in(site: Site, name: str, root: str = "", password: str = PASSWORD) -> Person:
    person = Person(site.port)
    person.get(f"{root}/account/sign-in")
    person.send({"email": f"{name}@example.com", "password": password})
    return person


def submit(person: Person, action: str, /, **values: object) -> Page:
    """Send the form of the page whose action ends with this."""
    form = next(f for f in person.page.forms if f.action.endswith(action) and f.method == "post")
    return person.send(values, form=form)


def test_an_administrator_invites_a_user_who_signs_in_and_is_deactivated(site: Site) -> None:
    anna = signed_in(site, "anna")
    assert anna.page.links["People"] == "/-/people"
    anna.click("People")
    anna.click("Invite a user")
    page = submit(anna, "/-/people", email="no email", name="Berta", role=["member"])
    assert page.status == 422 and "is not an email address" in page.text
    page = submit(
        anna, "/-/people", email="berta@example.com", tenant="south", role=["member", "manager"]
    )
    assert "An invitation was sent to berta@example.com." in page.text and "south" in page.text
    process: Process = site.process  # type: ignore[attr-defined]
    process.wait_for(lambda: "for berta@example.com: /account/reset?key=" in process.log, "a link")
    link = next(word for word in process.log.split() if "/account/reset?key=" in word).strip('",')

    berta = Person(site.port)
    berta.get(urlsplit(link).path + "?" + urlsplit(link).query)
    berta.send({"password": PASSWORD, "again": PASSWORD})
    berta.send({"email": "berta@example.com", "password": PASSWORD})
    assert berta.at == "/t/south/" and "Accounts" in berta.page.links
    assert "People" not in berta.page.links and berta.get("/t/south/-/people").status == 403

    stream = HTTPConnection("127.0.0.1", site.port, timeout=10)
    cookie = f"forge_session={berta.cookies['forge_session']}"
    stream.request("GET", "/t/south/events?topic=accounts", headers={"Cookie": cookie})
    response = stream.getresponse()
    assert response.status == 200
    anna.get("/-/people?q=berta")
    anna.click("Berta")
    page = submit(anna, "/disable")
    assert "Deactivated" in page.text and "deactivated" in page.text
    started = time.monotonic()
    while response.read1(65536):
        pass
    assert time.monotonic() - started < 5, "the stream ends at a heartbeat"
    assert "Sign in" in berta.get("/t/south/accounts").text
    page = submit(anna, "/enable")
    assert "Anna changed the account from deactivated to active" in " ".join(page.text.split())


def test_an_administrator_of_a_tenant_sees_no_other(site: Site) -> None:
    with db.connect(site.environ["FORGE_DATABASE_URL"]) as conn:
        south = accounts.find_tenant(conn, "south").id
        stranger = accounts.create_user(conn, "sid@example.com", name="Sid")
        accounts.grant(conn, stranger, ["member"], south)
        key = credentials.create_key(conn, stranger, tenant=south)
    nora = signed_in(site, "nora", "/t/north")
    page = nora.get("/t/north/-/people")
    assert "nick@example.com" in page.text
    assert "anna@example.com" not in page.text and "sid@example.com" not in page.text
    assert nora.get(f"/t/north/-/people/{stranger}").status == 404
    assert nora.get("/t/south/-/people").status == 403 and nora.get("/-/people").status == 403
    assert "south" not in nora.get("/t/north/-/tenants").text
    assert key[: credentials.HINT] not in nora.get("/t/north/-/keys").text
    nora.get("/t/north/-/people")
    nora.click("Nick")
    page = submit(nora, "/roles", role=["member", "manager"])
    assert page.status == 200 and "Saved." in page.text
    form = next(f for f in nora.page.forms if f.action.endswith("/roles"))
    for values in ({"tenant": "south"}, {"tenant": ""}):
        page = nora.send({"role": ["admin"], **values}, form=form)
        assert page.status in (403, 404), values
    page = nora.send({"role": ["auditor"], "before": None}, form=form)
    assert page.status == 403 and "you do not hold these roles yourself: auditor" in page.text
    body = b"role=admin&tenant=north"
    assert nora.ask("POST", form.action, body).status == 403, "without a CSRF token"


def test_a_key_of_a_service_account_is_shown_once_and_revoked(site: Site) -> None:
    with db.connect(site.environ["FORGE_DATABASE_URL"]) as conn:
        robot = accounts.create_user(conn, "robot@example.com", name="Robot")
        accounts.grant(conn, robot, ["member"], accounts.find_tenant(conn, "north").id)
    anna = signed_in(site, "anna")
    options: dict[str, object] = {"tenant": "north", "role": ["member"], "name": "scanner"}
    anna.get("/-/people?q=nick")
    anna.click("Nick")
    refused = submit(anna, "/create-key", **options)
    assert refused.status == 403 and "auth create-key nick@example.com" in refused.text
    anna.get("/-/people?q=robot")
    anna.click("Robot")
    page = submit(anna, "/create-key", days="90", **options)
    key = next(word for word in page.text.split() if word.startswith(credentials.KEY))
    anna.click("Done")
    assert "A link for a new password was sent to the user." in submit(anna, "/link").text
    bearer = {"Authorization": f"Bearer {key}"}
    assert site.ask("GET", "/t/north/api/v1/accounts", **bearer)[0] == 200
    page = anna.get("/-/keys")
    assert "scanner" in page.text and key not in page.text
    submit(anna, "/-/keys")
    assert site.ask("GET", "/t/north/api/v1/accounts", **bearer)[0] == 401
    assert "scanner" not in anna.get("/-/keys").text


def test_tenants_are_created_and_the_last_administrator_stays(site: Site) -> None:
    anna = signed_in(site, "anna")
    anna.get("/-/tenants")
    assert submit(anna, "/-/tenants", name="East", slug="no slug").status == 422
    page = submit(anna, "/-/tenants", name="East", slug="east")
    assert page.links["East"] == "/t/east/"
    anna.get("/-/people?q=anna@")
    anna.click("Anna")
    for action in ("/disable", "/roles"):
        form = next(f for f in anna.page.forms if f.action.endswith(action))
        page = anna.send({"role": None}, form=form)
        assert page.status == 409 and "one administrator must remain" in page.text


def test_the_command_line_writes_the_same_history(site: Site) -> None:
    site.run("auth", "grant", "nick@example.com", "manager", "--tenant", "north")
    anna = signed_in(site, "anna")
    anna.get("/-/people?q=nick")
    page = anna.click("Nick")
    words = " ".join(page.text.split())
    assert "system changed the roles in north from member to manager, member" in words
