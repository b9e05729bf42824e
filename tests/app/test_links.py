"""Links for a new password: nobody learns from them who has an account, nobody ends another's."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from forge_min import db
from forge_min.app import Runtime
from forge_min.auth import accounts, signing
from forge_min.auth.accounts import User
from forge_min.html.account import PasswordResetSender
from forge_min.html.account import password_reset as links
from forge_min.testing import Client, TestDatabase, running_app

pytestmark = pytest.mark.db
DEADLINE = 30.0
EMAILS = ("anna@example.com", "berta@example.com")


class Post:
    """Something that sends links, once it is let."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.asked, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.sent: list[tuple[str, str]] = []

    def __call__(self, user: User, path: str) -> None:
        self.asked.release()
        assert self.open.wait(DEADLINE)
        if user.email == EMAILS[1]:
            raise RuntimeError("no post today")
        self.sent.append((user.email, path))
        self.done.release()


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post()
    yield made
    made.open.set()


@pytest.fixture
def database(wide_database: TestDatabase) -> Iterator[db.Database]:
    made = db.Database(wide_database.app_url)
    for email in EMAILS:
        accounts.create_user(made.connection(), email)
    yield made
    made.close()


@pytest.fixture
def app(
    post: Post, wide_code: Path, wide_database: TestDatabase, database: db.Database,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Runtime]:  # fmt: skip
    """The wide project, whose links go by this post."""
    __import__("app")
    monkeypatch.setattr(sys.modules["app"].app, "reset_sender", post)
    with running_app(wide_database) as running:
        yield running
        post.open.set()


def forgot(client: Client, email: str) -> tuple[int, str]:
    """(status, page), without what is new in every page."""
    page = client.get("/account/forgot")
    fields = dict(re.findall(r'name="(_csrf_token)" value="([^"]+)"', page.text))
    answer = client.post(
        "/account/forgot",
        body=urlencode({**fields, "email": email}).encode(),
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": str(page.headers["Set-Cookie"]).partition(";")[0],
        },
    )
    return answer.status, re.sub(r'value="[^"]*"', "", answer.text)


def test_the_answer_comes_while_the_mail_is_still_on_its_way(app: Runtime, post: Post) -> None:
    client = Client(app)
    said = {forgot(client, email) for email in (EMAILS[0], "nobody@example.com", EMAILS[1])}
    assert post.asked.acquire(timeout=DEADLINE) and not post.sent
    assert len(said) == 1 and min(said)[0] == 200
    post.open.set()
    app.stop()
    assert [email for email, _ in post.sent] == [EMAILS[0]], "one that is stopped has sent all"


def test_a_link_that_was_printed_outlives_all_that_are_asked_for(
    app: Runtime, post: Post, database: db.Database
) -> None:
    conn, client = database.connection(), Client(app)
    anna = accounts.find_user(conn, EMAILS[0])
    printed = links.reset_path(signing.create_reset(conn, anna.id))
    post.open.set()
    for _ in range(2 * signing.LINKS):
        conn.execute("delete from forge_throttle")
        assert forgot(client, anna.email)[0] == 200
        assert post.done.acquire(timeout=DEADLINE)
    paths = [path for _, path in post.sent]
    good = [client.get(path).status for path in (printed, *paths)]
    assert good == [200] * (1 + 2 * signing.LINKS), "nor do they end each other"


def test_what_does_not_fit_is_dropped_and_what_fails_is_logged(
    database: db.Database, post: Post, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(links, "MAX_WAITING", 2)
    made = PasswordResetSender(database, post)
    made.start()
    made.enqueue(EMAILS[1])
    assert post.asked.acquire(timeout=DEADLINE)
    for _ in range(3):
        made.enqueue(EMAILS[0])
    assert [r.getMessage() for r in caplog.records if "too many" in r.getMessage()]
    post.open.set()
    made.stop(DEADLINE)
    made.stop()
    assert [email for email, _ in post.sent] == [EMAILS[0]] * 2
    errors = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1 and "no post today" in str(errors[0].exc_info)


def test_a_post_that_hangs_keeps_no_process_alive(
    database: db.Database, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    made = PasswordResetSender(database, post)
    made.start()
    for _ in range(3):
        made.enqueue(EMAILS[0])
    assert post.asked.acquire(timeout=DEADLINE)
    made.stop(0)
    assert "2 password-reset links are not sent" in caplog.text
    made.enqueue(EMAILS[0])
    post.open.set()
    join(made)
    assert len(post.sent) == 1


def join(thread: PasswordResetSender) -> None:
    thread.join(DEADLINE)
    assert not thread.is_alive() and thread.name == "password-reset" and thread.daemon
