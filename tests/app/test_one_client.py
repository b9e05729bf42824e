"""One client and the others: conditions of a list, the time of a read, requests at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from html import unescape
from http.client import HTTPConnection
from urllib.parse import urlencode

import pytest
from forge_min import db
from forge_min.app import Runtime
from forge_min.auth.credentials import KEY
from forge_min.errors import Unavailable
from forge_min.testing import Client, TestDatabase, running_app
from forge_min.wsgi import Server

from waiting import wait_for

pytestmark = pytest.mark.db
LISTS = ("/api/v1/documents", "/documents", "/documents.csv")
ID = "0190c0de-0000-7000-8000-000000000001"
DOCUMENT = {"string": "Of mice", "bool": True, "settings": {}}
WAITING = "select count(*) from pg_locks where not granted"


@contextmanager
def locked(database: TestDatabase) -> Iterator[db.Connection]:
    """Documents can be neither read nor written."""
    with db.connect(database.owner_url) as conn, db.transaction(conn):
        conn.execute("lock table documents in access exclusive mode")
        yield conn


@pytest.mark.parametrize("path", LISTS)
def test_a_list_takes_twenty_conditions_and_identical_ones_count_once(
    site: Runtime, path: str
) -> None:
    def ask(*pairs: tuple[str, str]) -> tuple[int, str]:
        answer = Client(site).get(f"{path}?{urlencode(pairs)}")
        return answer.status, answer.text

    several = [("email[contains]", f"e{n}") for n in range(20)]
    assert ask(*several, *[several[0]] * 300)[0] == 200
    status, text = ask(*several, ("int[gte]", "1"))
    assert status == 400 and "at most 20 conditions" in text
    if path != "/documents":  # which shows the list's page with it
        assert '"code": "F643"' in text and '"pointer": "/int[gte]"' in text


@pytest.mark.parametrize("path", LISTS)
def test_guesses_of_keys_are_limited_on_every_path(wide_database: TestDatabase, path: str) -> None:
    with running_app(wide_database, FORGE_API_RATE_LIMIT='{default="3/1h"}') as running:
        guesses = [
            Client(running).get(path, headers={"Authorization": f"Bearer {KEY}{n}"})
            for n in range(5)
        ]
    assert [answer.status for answer in guesses] == [401, 401, 401, 429, 429]


def test_the_number_of_conditions_is_configured(wide_database: TestDatabase) -> None:
    with running_app(wide_database, FORGE_API_MAX_CONDITIONS="1") as running:
        for path in LISTS:
            assert Client(running).get(f"{path}?int=1&int=1").status == 200
            assert Client(running).get(f"{path}?int=1&int=2").status == 400


def test_a_read_of_a_request_is_cancelled_in_time_and_nothing_else_is(
    wide_database: TestDatabase,
) -> None:
    with running_app(wide_database, FORGE_DATABASE_READ_TIMEOUT="100ms") as running:
        client, conn = Client(running), running.database.connection()
        documents = running.registry.actions["documents"]
        write = partial(documents.create, DOCUMENT)
        with ThreadPoolExecutor(2) as pool:
            with locked(wide_database) as owner:
                # Statements outside of requests have no such limit.
                others = [pool.submit(documents.list), pool.submit(write)]
                wait_for(lambda: owner.execute(WAITING).fetchone() == (2,))
                for path in LISTS[:2]:
                    answer = client.get(path)
                    assert answer.status == 503 and "F642" in answer.text
                    assert answer.headers["Retry-After"] == "1"
                with pytest.raises(Unavailable) as caught:  # its head is sent already
                    client.get(LISTS[2])
                assert caught.value.code == "F642"
            assert len(others[0].result().rows) < 2 and others[1].result().string == "Of mice"
        assert conn.closed, "a late cancel would meet another statement"
        assert [client.get(path).status for path in LISTS] == [200] * 3


def test_all_pages_of_a_resource_count_for_the_rate_limit(wide_database: TestDatabase) -> None:
    limit = '{default = "2/1h", session = "1000/1h"}'
    with running_app(wide_database, FORGE_API_RATE_LIMIT=limit) as running:
        client = Client(running)
        paths = [
            *LISTS,
            "/documents/new/choices?field=x",
            "/documents/new",
            f"/documents/{ID}",
            f"/documents/{ID}/edit",
            f"/documents/{ID}/delete",
        ]
        assert client.get("/documents").headers["RateLimit"].startswith('"default";r=1')
        client.get("/documents.csv")
        for path in paths:
            answer = client.get(path, headers={"Accept": "text/html"} if path != LISTS[0] else {})
            assert answer.status == 429 and "F525" in answer.text and answer.headers["Retry-After"]
        assert client.post(f"/documents/{ID}/edit").status == 429
        for path in ("/", "/static/forge/forge.css"):
            assert client.get(path).status != 429 and client.get(path).headers["RateLimit"] is None


@pytest.mark.thorough
def test_large_json_is_shortened_on_the_page_and_whole_in_the_form_and_the_api(
    wide_database: TestDatabase,
) -> None:
    value = {"a": "<&>", "b": ["word"] * 100_000, "z": 1}
    with running_app(wide_database) as running, ExitStack() as stack:
        server = Server(("127.0.0.1", 0), running.application, threads=4)
        server.start()
        stack.callback(server.stop, 2.0)
        conn = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        stack.callback(conn.close)

        def ask(path: str, method: str = "GET", body: str | None = None) -> str:
            headers = {"X-Test-User": "ann", "X-Test-Roles": "anybody,admin"}
            headers |= (
                {"Content-Type": "application/json"} if body else {"Accept": "*/*," + "x," * 7000}
            )
            conn.request(method, path, body, headers)
            response = conn.getresponse()
            text = response.read().decode()
            assert response.status in (200, 201) and response.headers["RateLimit"], text
            return text

        document = DOCUMENT | {"json": value}
        id = json.loads(ask("/api/v1/documents", "POST", json.dumps(document)))["id"]
        page = ask(f"/documents/{id}")
        assert "&lt;&amp;&gt;" in page and "this is its beginning" in page
        assert len(page) < 30_000 and '"z": 1' not in unescape(page)
        form = unescape(ask(f"/documents/{id}/edit"))
        assert form.count('"word"') == 100_000 and '"z": 1' in form
        assert json.loads(ask(f"/api/v1/documents/{id}"))["json"] == value
        small = json.dumps(DOCUMENT | {"json": {"word": 1}})
        id = json.loads(ask("/api/v1/documents", "POST", small))["id"]
        assert "this is its beginning" not in ask(f"/documents/{id}")


def test_others_are_answered_while_one_clients_lists_are_slow(
    wide_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forge_min.app.runtime._LOCK_WAIT", 30.0)
    settings = {"FORGE_SERVER_THREADS": "4", "FORGE_DATABASE_READ_TIMEOUT": "30s"}
    settings["FORGE_DATABASE_LOCK_TIMEOUT"] = "30s"
    with running_app(wide_database, **settings) as running, ExitStack() as stack:
        server = Server(("127.0.0.1", 0), running.application, threads=4)
        server.start()
        stack.callback(server.stop, 2.0)

        def ask(path: str, user: str = "") -> HTTPConnection:
            conn = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
            stack.callback(conn.close)
            headers = {"X-Test-User": user, "X-Test-Roles": "anybody"} if user else {}
            conn.request("GET", path, headers=headers)
            return conn

        def status(conn: HTTPConnection) -> int:
            response = conn.getresponse()
            response.read()
            return response.status

        with locked(wide_database) as owner:
            flood = [ask(LISTS[n % 2]) for n in range(12)]
            wait_for(lambda: owner.execute(WAITING).fetchone() == (2,))
            # Of the same address, but a user: another client.
            assert [status(ask("/api/v1/documents/no", "ann")) for _ in range(5)] == [404] * 5
            assert owner.execute(WAITING).fetchone() == (2,)
        assert {status(conn) for conn in flood} <= {200, 429}
        assert status(ask(LISTS[0])) == 200
