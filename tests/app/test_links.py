"""Links for a new password: they do not reveal who has an account, and do not end each other."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

import pytest
from forge_min import db
from forge_min.app import Runtime
from forge_min.auth import accounts, credentials, signing
from forge_min.auth.accounts import User
from forge_min.html.account import SendAccountLinks, reset_path
from forge_min.testing import Client, TestDatabase, running_app

from mail_server import MailServer

pytestmark = pytest.mark.db
EMAILS = ("anna@example.com", "berta@example.com")


@pytest.fixture
def database(wide_database: TestDatabase) -> Iterator[db.Database]:
    made = db.Database(wide_database.app_url)
    for email in EMAILS:
        accounts.create_user(made.connection(), email)
    yield made
    made.close()


class Post:
    """The function of app.py that sends links. It fails for berta, once."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.failures = 0

    def __call__(self, user: User, path: str) -> None:
        if user.email == EMAILS[1] and not self.failures:
            self.failures += 1
            raise RuntimeError("no post today")
        self.sent.append((user.email, path))


@contextmanager
def started(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch, post: Post | None, **environ: str
) -> Iterator[Runtime]:
    """The wide project, whose links go by this post or by mail."""
    __import__("app")
    monkeypatch.setattr(sys.modules["app"].app, "reset_sender", post)
    monkeypatch.setattr(SendAccountLinks, "retry", lambda *_: 0.05, raising=False)
    with running_app(database, **environ) as running:
        yield running


def work(app: Runtime, database: db.Database) -> None:
    """Run all jobs."""
    worker = app.new_worker({"default": 2})
    worker.start()
    end = time.monotonic() + 30
    sql = "select id from forge_job where state not in ('completed', 'discarded')"
    while db.run(database.connection(), sql):
        assert time.monotonic() < end, "a job did not end"
        time.sleep(0.02)
    worker.stop(10)


def forgot(client: Client, email: str) -> tuple[int, str]:
    """(status, page), without what is new in every page."""
    host = {"Host": "evil.example"}
    page = client.get("/account/forgot", headers=host)
    fields = dict(re.findall(r'name="(_csrf_token)" value="([^"]+)"', page.text))
    answer = client.post(
        "/account/forgot",
        body=urlencode({**fields, "email": email}).encode(),
        headers={
            **host,
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": str(page.headers["Set-Cookie"]).partition(";")[0],
        },
    )
    return answer.status, re.sub(r'value="[^"]*"', "", answer.text)


@pytest.mark.usefixtures("wide_code")
def test_every_email_has_the_same_answer_and_the_same_work(
    wide_database: TestDatabase, database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, conn = Post(), database.connection()
    with started(wide_database, monkeypatch, post) as app:
        said = {forgot(Client(app), email) for email in (*EMAILS, "nobody@example.com")}
        assert len(said) == 1 and min(said)[0] == 200
        kinds = db.run(conn, "select kind, count(*) from forge_job group by kind")
        assert kinds == [("forge_account_link", 3)]
        assert not post.sent and not db.run(conn, "select key from forge_reset")
        work(app, database)
    assert sorted(email for email, _ in post.sent) == list(EMAILS), "a failed one is retried"
    stored = db.run(conn, "select args::text || metadata::text from forge_job")
    for _, path in post.sent:
        secret = path.partition("key=")[2]
        assert not [row for (row,) in stored if secret in row], "forge_job has no secret"


@pytest.mark.usefixtures("wide_code")
def test_a_link_that_was_printed_outlives_all_that_are_asked_for(
    wide_database: TestDatabase, database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, conn = Post(), database.connection()
    with started(wide_database, monkeypatch, post) as app:
        client = Client(app)
        anna = accounts.find_user(conn, EMAILS[0])
        printed = reset_path(signing.create_reset(conn, anna.id))
        for _ in range(2 * signing.LINKS):
            conn.execute("delete from forge_throttle")
            assert forgot(client, anna.email)[0] == 200
        work(app, database)
        paths = [path for _, path in post.sent]
        good = [client.get(path).status for path in (printed, *paths)]
    assert good == [200] * (1 + 2 * signing.LINKS), "nor do they end each other"


@pytest.mark.usefixtures("wide_code")
@pytest.mark.parametrize("invites", [False, True])
def test_a_link_is_sent_by_mail_with_the_address_of_the_project(
    wide_database: TestDatabase, database: db.Database, monkeypatch: pytest.MonkeyPatch,
    invites: bool,
) -> None:  # fmt: skip
    server = MailServer()
    try:
        with started(
            wide_database, monkeypatch, None, FORGE_MAIL_URL=server.url,
            FORGE_MAIL_FROM="Wide <noreply@wide.example>", FORGE_PROJECT_URL="https://wide.example",
        ) as app:  # fmt: skip
            client = Client(app)
            links = app.registry.dependencies["forge_account_links"]
            for email in (EMAILS[0], "nobody@example.com"):
                if invites:
                    links.request("/t/north", database.connection(), email, True)
                else:
                    assert forgot(client, email)[0] == 200
            work(app, database)
            (mail,) = server.inbox.messages()
            assert mail["To"] == EMAILS[0] and mail["From"] == "Wide <noreply@wide.example>"
            text = mail.get_body(["plain"]).get_content()
            (url,) = re.findall(r"https?://\S+", text)
            root = "https://wide.example" + ("/t/north" if invites else "")
            assert url.startswith(f"{root}/account/reset?key=")
            assert f'href="{url}"' in mail.get_body(["html"]).get_content()
            assert EMAILS[0] in text and "evil.example" not in mail.as_string()
            path = f"/account/reset?{urlsplit(url).query}"
            assert client.get(path).status == 200
            ((hours,),) = db.run(
                database.connection(),
                "select round(extract(epoch from expires_at - now()) / 3600) from forge_reset",
            )
            assert int(hours) == (168 if invites else 1)
    finally:
        server.stop()


@pytest.mark.usefixtures("wide_code")
def test_a_key_of_another_person_goes_to_its_owner_by_mail(
    wide_database: TestDatabase, database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = database.connection()
    ada = accounts.create_user(conn, "ada@example.com")
    anna = accounts.find_user(conn, EMAILS[0])
    for user in (ada, anna.id):
        accounts.grant(conn, user, ["admin"] if user == ada else [])
        secret = signing.create_reset(conn, user)
        signing.use_reset(conn, secret, "a password that nobody has", 12)
    secret = credentials.start_session(conn, ada, 600, credentials.Browser())
    server = MailServer()
    try:
        with started(
            wide_database, monkeypatch, None, FORGE_MAIL_URL=server.url,
            FORGE_MAIL_FROM="noreply@wide.example", FORGE_PROJECT_URL="https://wide.example",
        ) as app:  # fmt: skip
            client, headers = Client(app), {"Cookie": f"forge_session={secret}"}
            page = client.get(f"/-/people/{anna.id}", headers=headers)
            (token,) = set(re.findall(r'name="_csrf_token" value="([^"]+)"', page.text)[:1])
            pairs = {"_csrf_token": token, "name": "ship"}
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode(pairs).encode()
            done = client.post(f"/-/people/{anna.id}/create-key", body=body, headers=headers | kind)
            assert done.status == 303 and "fmk_" not in done.text
            assert not credentials.list_keys(conn, anna.id), "the job creates it"
            work(app, database)
            (mail,) = server.inbox.messages()
            assert mail["To"] == EMAILS[0]
            (key,) = re.findall(r"fmk_\S+", mail.get_body(["plain"]).get_content())
            assert credentials.identify_key(conn, key).user == str(anna.id)
            assert not db.run(conn, "select from forge_job where args::text like '%fmk_%'")
            seen = client.get(f"/-/people/{anna.id}", headers=headers).text
            assert key not in seen and "ship" in seen
    finally:
        server.stop()


@pytest.mark.usefixtures("wide_code")
def test_an_invitation_has_the_same_answer_for_an_account_elsewhere_as_for_a_new_one(
    wide_database: TestDatabase, database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, conn = Post(), database.connection()
    north, south = (accounts.create_tenant(conn, slug) for slug in ("north", "south"))
    nora = accounts.create_user(conn, "nora@example.com")
    accounts.grant(conn, nora, ["admin", "member"], north)
    anna = accounts.find_user(conn, EMAILS[0])
    accounts.grant(conn, anna.id, ["member"], south)
    secret = credentials.start_session(conn, nora, 600, credentials.Browser())
    with started(wide_database, monkeypatch, post, FORGE_TENANCY_STRATEGY="path") as app:
        client, headers = Client(app), {"Cookie": f"forge_session={secret}"}

        def invited(email: str) -> tuple[int, str, str]:
            page = client.get("/t/north/-/people/new", headers=headers)
            fields = dict(re.findall(r'name="(_csrf_token)" value="([^"]+)"', page.text))
            pairs = {**fields, "email": email, "tenant": "north", "role": "member"}
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode(pairs).encode()
            answer = client.post("/t/north/-/people", body=body, headers=headers | kind)
            url, flash = str(answer.headers["Location"]), str(answer.headers["Set-Cookie"])
            flash = flash.partition(";")[0]
            page = client.get(url, headers={"Cookie": f"{headers['Cookie']}; {flash}"})
            assert f"An invitation was sent to {email}." in page.text
            text = page.text.replace(email, "email")
            return answer.status, url, re.sub(r'name="_csrf_token" value="[^"]*"', "", text)

        assert invited(anna.email) == invited("new@example.com")
        work(app, database)
        assert sorted(email for email, _ in post.sent) == [anna.email, "new@example.com"]
        for _, path in post.sent:
            page = client.get(path)
            fields = dict(re.findall(r'name="(_csrf_token|key)" value="([^"]+)"', page.text))
            pairs = {
                **fields,
                "password": "a fresh horse battery",
                "again": "a fresh horse battery",
            }
            cookie = str(page.headers["Set-Cookie"]).partition(";")[0]
            kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
            answer = client.post("/account/reset", body=urlencode(pairs).encode(), headers=kind)
            assert answer.status == 303
    users = {user.email: tenants for user, tenants in accounts.list_users(conn)}
    assert users[anna.email] == {"north": ["member"], "south": ["member"]}
    assert users["new@example.com"] == {"north": ["member"]}


@pytest.mark.usefixtures("wide_code", "database")
def test_without_mail_no_page_offers_a_link(
    wide_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"FORGE_ENV": "test"}
    with started(wide_database, monkeypatch, None, **environ) as app:
        client = Client(app)
        assert client.get("/account/forgot").status == 404
        assert "/account/forgot" not in client.get("/account/sign-in").text


@pytest.mark.usefixtures("wide_code")
def test_without_mail_an_administrator_is_shown_the_link_once(
    wide_database: TestDatabase, database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = database.connection()
    ada = accounts.create_user(conn, "ada@example.com", roles=["admin"])
    secret = credentials.start_session(conn, ada, 600, credentials.Browser())
    with started(wide_database, monkeypatch, None, FORGE_ENV="test") as app:
        client, headers = Client(app), {"Cookie": f"forge_session={secret}"}
        page = client.get("/-/people/new", headers=headers)
        fields = dict(re.findall(r'name="(_csrf_token)" value="([^"]+)"', page.text))
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode({**fields, "email": "new@example.com", "role": "admin"}).encode()
        page = client.post("/-/people", body=body, headers=headers)
        (path,) = re.findall(r"(/account/reset\?key=[^<\s]+)", page.text)
        assert page.status == 200 and page.headers["Cache-Control"] == "no-store"
        assert client.get(path).status == 200
        assert not db.run(conn, "select id from forge_job")
        for query in ("?q=%00", "?after=%00", "?tenant=%00", f"?q={'x' * 5000}"):
            assert client.get(f"/-/people{query}", headers=headers).status == 200, query
        for path in ("/-/people/x", "/-/people/%00", f"/-/people/{'9' * 500}"):
            assert client.get(path, headers=headers).status in (400, 404), path
        for operation, form in (
            ("create-key", {"days": "9" * 5000}),
            ("create-key", {"days": "-1"}),
            ("create-key", {"name": "a\0b"}),
            ("create-key", {"tenant": "nowhere"}),
            ("sessions", {"session": "abc"}),
            ("roles", {"role": "\0", "tenant": ""}),
            ("nothing", {}),
        ):
            body = urlencode({**fields, **form}).encode()
            answer = client.post(f"/-/people/{ada}/{operation}", body=body, headers=headers)
            assert 400 <= answer.status < 500, (operation, form, answer.status)
        assert len(credentials.list_sessions(conn, ada)) == 1
