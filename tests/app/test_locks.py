"""Requests that wait for a lock of another transaction, and the threads of the server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.client import HTTPConnection, HTTPResponse

import pytest
from forge_min import db
from forge_min.app import Runtime
from forge_min.testing import Client, TestDatabase, running_app
from forge_min.wsgi import Server
from psycopg.conninfo import conninfo_to_dict

from waiting import wait_for

pytestmark = pytest.mark.db
DOCUMENTS = "/api/v1/documents"
DOCUMENT = {"string": "Of mice", "bool": True, "settings": {}}
HEADERS = {"X-Test-User": "ann", "X-Test-Roles": "anybody,admin", "If-Match": "*"}
WAITING = "select count(*) from pg_locks where not granted"
Ask = Callable[..., HTTPConnection]


@contextmanager
def asking(running: Runtime, threads: int) -> Iterator[Ask]:
    """Gives a function that sends a request of a user to a real server."""
    with ExitStack() as stack:
        server = Server(("127.0.0.1", 0), running.application, threads=threads)
        server.start()
        stack.callback(server.stop, 2.0)

        def ask(method: str, path: str, user: str, body: object = None) -> HTTPConnection:
            conn = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
            stack.callback(conn.close)
            headers = HEADERS | {"X-Test-User": user, "Content-Type": "application/json"}
            conn.request(method, path, body=json.dumps(body) if body else None, headers=headers)
            return conn

        yield ask


def read(conn: HTTPConnection) -> tuple[HTTPResponse, str]:
    response = conn.getresponse()
    return response, response.read().decode()


def add(running: Runtime) -> str:
    """A document. Returns the path of its resource."""
    made = Client(running).post(DOCUMENTS, json=DOCUMENT, headers=HEADERS)
    assert made.status == 201, made.text
    return f"{DOCUMENTS}/{made.json['id']}"


@contextmanager
def locked(database: TestDatabase) -> Iterator[db.Connection]:
    """All documents are locked by a transaction of another program."""
    with db.connect(database.owner_url) as conn, db.transaction(conn):
        conn.execute("select from documents for update")
        yield conn


def test_writers_that_wait_for_a_lock_leave_half_of_the_threads(
    wide_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve writers of one row on eight threads; a list is answered while four of them wait.

    Their time is an hour here, so no pause of the machine can end it.
    """
    monkeypatch.setattr("forge_min.app.runtime._LOCK_WAIT", 3600.0)
    settings = {"FORGE_SERVER_THREADS": "8", "FORGE_DATABASE_LOCK_TIMEOUT": "3600s"}
    with (
        running_app(wide_database, **settings) as running,
        asking(running, threads=8) as ask,
    ):
        path = add(running)
        with locked(wide_database) as owner:
            writers = [ask("PATCH", path, f"user{n}", {"string": f"Of men {n}"}) for n in range(12)]
            response, _ = read(ask("GET", DOCUMENTS, "reader"))
            assert response.status == 200
            wait_for(lambda: owner.execute(WAITING).fetchone() == (4,), 60)
            response, _ = read(ask("GET", DOCUMENTS, "reader"))
            assert response.status == 200
            assert owner.execute(WAITING).fetchone() == (4,), "they wait all the time"
        answers = [read(conn) for conn in writers]
        refused = [(r, body) for r, body in answers if r.status == 503]
        assert sorted(r.status for r, _ in answers) == [200] * 4 + [503] * 8
        for response, body in refused:
            assert response.headers["Retry-After"] == "1" and json.loads(body)["code"] == "F656"


@pytest.mark.parametrize("is_pooled", [False, True], ids=["direct", "pooled"])
def test_a_write_of_a_request_ends_while_the_lock_is_held(
    wide_database: TestDatabase, is_pooled: bool, request: pytest.FixtureRequest
) -> None:
    """Far before the hour of database.lock_timeout, and without an effect.

    On our server, and on another one: there, as behind a pooler, the limit is not left in the
    session, which others may use.
    """
    with db.connect(wide_database.owner_url) as owner:
        role, name = conninfo_to_dict(wide_database.app_url)["user"], wide_database.name
        owner.execute(f"alter role {role} in database {name} set lock_timeout = '1h'")
    database, settings = wide_database, {"FORGE_DATABASE_LOCK_TIMEOUT": "1h"}
    if is_pooled:
        url = request.getfixturevalue("pooled")(wide_database.app_url)
        settings |= {"FORGE_DATABASE_DIRECT_URL": wide_database.app_url}
        database = replace(wide_database, app_url=url)
    with running_app(database, **settings) as running, asking(running, threads=4) as ask:
        path, body = add(running), {"string": "Of men"}
        with locked(wide_database):
            waiting = ask("PATCH", path, "ann", body)
            other = Client(running).patch(path, json=body, headers=HEADERS)
            response, text = read(waiting)
        for status, headers, answer in (
            (response.status, response.headers, json.loads(text)),
            (other.status, other.headers, other.json),
        ):
            assert (status, answer["code"], headers["Retry-After"]) == (503, "F656", "1")
            assert "another change of the same data has not ended" in answer["detail"]
        assert Client(running).get(path, headers=HEADERS).json["string"] == "Of mice"
        assert read(ask("PATCH", path, "ann", body))[0].status == 200
        conn = running.database.connection()
        assert conn.execute("show lock_timeout").fetchone() == ("1h",)
