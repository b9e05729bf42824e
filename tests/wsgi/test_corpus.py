"""Every hostile request gets its refusal over a real socket, and nothing after it is answered."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from forge_min.wsgi import Server

from wsgi.mutate import HERE, PACKAGE, READER

SECOND = b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n"
reached: list[str] = []


def app(environ, start_response):
    reached.append(environ["PATH_INFO"])
    start_response("200 OK", [])
    return [b"reached"]


@pytest.fixture(scope="module")
def target() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), app, threads=2)
    server.start()
    yield server
    server.stop(timeout=1.0)


def test_a_hostile_request_is_refused_and_the_connection_ends(target, connect, hostile_request):
    _, status, raw = hostile_request
    reached.clear()
    got = connect(target).send(raw).send(SECOND).rest()
    assert got.startswith(b"HTTP/1.1 %d " % status), got[:300]
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", got)) == 1
    assert b"\r\nConnection: close\r\n" in got
    assert b"\r\nContent-Security-Policy: default-src 'self'" in got
    assert reached == []


def test_the_corpus_names_a_hundred_and_fifty_different_requests(request):
    from_file = request.path.parent / "corpus"
    names = [
        line
        for path in from_file.glob("*.toml")
        for line in path.read_text().splitlines()
        if line.startswith("name = ")
    ]
    assert len(names) == len(set(names)) >= 150


def test_every_row_of_the_mutation_run_still_fits_the_reader():
    for row in tomllib.loads((HERE / "mutations.toml").read_text())["mutation"]:
        text = (PACKAGE / READER / row["file"]).read_text()
        for old, new in row["changes"]:
            assert text.count(old) == 1, (row["check"], old)
            text = text.replace(old, new)


@pytest.mark.thorough
def test_each_check_is_missed_when_it_is_removed() -> None:
    command = [sys.executable, str(Path(__file__).with_name("mutate.py"))]  # make mutate
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
