"""The whole example under servers that are not ours; each runs the application from its folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from forge_min import db
from forge_min.testing import TestDatabase

from artifact_runner import EXAMPLE, Site, free_port
from person import Person

pytestmark = [pytest.mark.db, pytest.mark.slow]
COMMANDS = {
    "gunicorn": ["-m", "gunicorn", "-k", "gthread", "--threads=4", "-b", "127.0.0.1:{port}",
                 "forge_min.entry:application()"],
    "waitress": ["-m", "waitress", "--host=127.0.0.1", "--port={port}", "--threads=4",
                 "--call", "forge_min.entry:application"],
    "granian": ["-m", "granian", "--interface=wsgi", "--host=127.0.0.1", "--port={port}",
                "--blocking-threads=4", "--factory", "forge_min.entry:application"],
}  # fmt: skip


@pytest.fixture(params=COMMANDS)
def site(
    request: pytest.FixtureRequest, fresh_database: TestDatabase, tmp_path: Path
) -> Iterator[Site]:
    """The example, migrated, on one of them."""
    root = tmp_path / "departures"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("dist", "__pycache__", ".forge"))
    with db.connect(fresh_database.owner_url) as conn:
        db.migrate(conn, [*db.FORGE_MIGRATIONS, *db.read_migrations(root / "migrations", "app")])
    port = free_port()
    command = [sys.executable, *(word.format(port=port) for word in COMMANDS[request.param])]
    environ = os.environ | {
        "PYTHONPATH": str(root), "HOME": str(tmp_path),
        "FORGE_DATABASE_URL": fresh_database.app_url,
    }  # fmt: skip
    made = Site(Path(), None, tmp_path)
    made.port = port
    with (tmp_path / "log").open("wb") as out:
        process = subprocess.Popen(
            command, cwd=root, env=environ, stdout=out, stderr=out, start_new_session=True
        )
    try:
        end = time.monotonic() + 30
        while made.status(port, "/api/v1/countries") != 200:
            assert process.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.05)
        yield made
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with the workers that it started
        process.wait()


def sent(port: int, path: str) -> bytes:
    """What follows the head of an answer to HEAD, on the wire."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(f"HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while some := sock.recv(65536):
            data += some
    return data.partition(b"\r\n\r\n")[2]


def test_api_pages_forms_csv_and_files_are_the_same_under_another_server(site: Site) -> None:
    country = site.create("countries", {"code": "DE", "name": "Germany"})
    status, headers, _ = site.ask("GET", f"/api/v1/countries/{country['id']}")
    assert status == 200 and headers["etag"] == '"1"'
    head = site.ask("HEAD", f"/api/v1/countries/{country['id']}")
    assert head[0] == 200 and head[2] == b""
    for path in ("/api/v1/countries", "/static/forge/forge.css", "/", "/nowhere"):
        assert sent(site.port, path) == b"", path
    tag = headers["etag"]
    assert site.ask("GET", f"/api/v1/countries/{country['id']}", If_None_Match=tag)[0] == 304
    assert site.ask("DELETE", "/api/v1/countries")[0] == 405
    status, headers, body = site.ask("POST", "/api/v1/countries", {"code": "XXX"})
    assert status == 422 and json.loads(body)["errors"]
    assert headers["content-type"] == "application/problem+json"
    person = Person(site.port)
    person.get("/countries/new")
    assert "Created." in person.send({"code": "FR", "name": "France"}).text
    person.get("/countries.csv?sort=code")
    assert [line.split(",")[1] for line in person.page.body.decode().splitlines()] == [
        "code", "DE", "FR",
    ]  # fmt: skip
    assert (
        "default-src 'self'"
        in person.get("/static/forge/forge.css").headers["Content-Security-Policy"]
    )
    assert person.get("/").status == 200 and person.get("/nowhere").status == 404
    assert site.ask("GET", "/api/openapi.json")[0] == 200
