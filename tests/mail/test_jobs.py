"""Messages as jobs: committed with their row, retried, given up, and sent through kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from forge_min import db, jobs
from forge_min.mail import Mailer, SendMail, SMTPTransport, send_tx
from forge_min.testing import TestDatabase

from mail_server import Inbox

pytestmark = pytest.mark.db
Start = Callable[..., tuple[Inbox, int]]
SENDER = Path(__file__).with_name("sender.py")
KILLS = 200


@pytest.fixture
def conn(fresh_database: TestDatabase) -> Iterator[db.Connection]:
    with db.connect(fresh_database.app_url) as conn:
        yield conn


def states(conn: db.Connection) -> Counter[str]:
    return Counter(state for (state,) in db.run(conn, "select state from forge_job"))


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_a_message_is_sent_if_and_only_if_its_row_is_committed(
    conn: db.Connection, fresh_database: TestDatabase, start: Start
) -> None:
    inbox, port = start()
    with db.transaction(conn):
        send_tx(conn, "anna@example.com", "Kept", "text")
    with db.transaction(conn):
        send_tx(conn, "anna@example.com", "Dropped", "text")
        raise psycopg.Rollback
    mailer = Mailer(SMTPTransport(f"smtp://localhost:{port}"), "shop@example.com", "")
    worker = jobs.Worker(
        lambda: db.connect(fresh_database.app_url),
        {SendMail.kind: SendMail(mailer).work},
        queues={"default": 2},
    )
    worker.start()
    try:
        wait_for(lambda: states(conn)["completed"])
    finally:
        worker.stop()
    assert [mail["Subject"] for mail in inbox.messages()] == ["Kept"]


def test_a_greylisted_message_is_retried_and_a_rejected_one_is_shown(
    conn: db.Connection, fresh_database: TestDatabase, start: Start
) -> None:
    inbox, port = start()

    def reply(address: str) -> str:
        if address.startswith("gone"):
            return "550 5.1.1 no such user"
        return "451 4.7.1 later" if inbox.attempts[address] < 3 else ""

    inbox.on_recipient = reply
    for address in ("gone@example.com", "later@example.com"):
        send_tx(conn, address, "Hello", "text")
    mailer = Mailer(SMTPTransport(f"smtp://localhost:{port}"), "shop@example.com", "")

    class Impatient(SendMail):
        def retry(self, job: jobs.Job, error: BaseException) -> float:
            return 0.05

    kinds = {SendMail.kind: jobs.kind_of(Impatient(mailer))}
    worker = jobs.Worker(
        lambda: db.connect(fresh_database.app_url), kinds, queues={"default": 2}, poll_interval=0.05
    )
    worker.start()
    try:
        wait_for(lambda: states(conn) == {"completed": 1, "discarded": 1})
    finally:
        worker.stop()
    assert inbox.attempts == {"gone@example.com": 1, "later@example.com": 3}
    sql = "select errors from forge_job where state = 'discarded'"
    ((errors,),) = db.run(conn, sql)
    assert "550 5.1.1 no such user" in json.dumps(errors)


@pytest.mark.thorough
def test_of_200_kills_no_message_is_lost_and_duplicates_have_one_id(
    conn: db.Connection, fresh_database: TestDatabase, start: Start
) -> None:
    inbox, port = start()
    chance, kills = random.Random(1), Counter[str]()
    url = f"smtp://localhost:{port}"
    process = subprocess.Popen([sys.executable, str(SENDER), fresh_database.app_url, url])

    def kill(where: str) -> bool:
        """Kill the sender, perhaps, in the middle of its dialogue with the server."""
        if sum(kills.values()) >= KILLS or chance.random() > 0.05:
            return False
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
            kills[where] += 1
        return True

    inbox.on_recipient = lambda address: "421 4.3.2 closing" if kill("RCPT") else ""
    inbox.on_data = lambda data: "die" if kill("DATA") else ""
    inbox.after_data = lambda: kill("accepted")
    sent = 0
    try:
        while sum(kills.values()) < KILLS or states(conn)["completed"] < sent:
            if sum(kills.values()) < KILLS and sent - states(conn)["completed"] < 20:
                send_tx(conn, f"user{sent}@example.com", "Hello", "text")
                sent += 1
            time.sleep(0.005)
    finally:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
    rows = db.run(conn, "select args->>'id', args->>'to' from forge_job")
    expected: dict[Any, Any] = {f"<{id}@example.com>": to for id, to in rows}
    received = [(mail["Message-ID"], str(mail["To"])) for mail in inbox.messages()]
    assert len(expected) == sent and dict(received) == expected, "lost, or under another id"
    duplicates = len(received) - sent
    print(f"{sent} messages, kills {dict(kills)}, {duplicates} duplicates")
    assert sum(kills.values()) >= KILLS and len(kills) == 3 and duplicates > 0
