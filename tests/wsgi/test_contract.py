"""The OpenAPI document, held against the running server by tools that know nothing of it: a
validator, a generator of requests, and a generator of clients.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from forge_min.db import EmbeddedServer
from forge_min.testing import fresh_database
from openapi_spec_validator import validate

from artifact_runner import Site

pytestmark = [pytest.mark.db, pytest.mark.slow]

ROLES = ("member", "manager", "admin", "editor", "owner")

# A value that the schema allows may still be refused for what the database holds (422: no such
# airport), for what another request has done meanwhile (412), or since it is no cursor (400).
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "400", "401", "403", "404", "409", "412", "422", "428"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "412", "415", "422", "428"]
[checks.missing_required_header]
expected-statuses = ["400", "401", "403", "404", "406", "415", "422", "428"]
"""


def schemathesis(site: Site, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A run against every operation of the API."""
    (folder / "schemathesis.toml").write_text(CONFIG)
    program = Path(sys.executable).with_name("schemathesis")
    command = [
        str(program), "run", f"http://127.0.0.1:{site.port}/api/openapi.json", "--no-color",
        "--include-path-regex", "^/api/v1", "--seed", "3", "--generation-database", "none",
        *options,
    ]  # fmt: skip
    environ = {**os.environ, "HOME": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=400
    )


@pytest.mark.thorough
def test_the_example_keeps_its_document(site: Site, tmp_path: Path) -> None:
    process = site.serve()
    document = json.loads(site.ask("GET", "/api/openapi.json")[2])
    validate(document)
    country = site.create("countries", {"code": "DE", "name": "Germany"})
    body = {"icao": "EDDF", "name": "Frankfurt", "country_id": country["id"]}
    site.create("airports", body | {"latitude": "50", "longitude": "8"})
    done = schemathesis(site, tmp_path, "-n", os.environ.get("FORGE_EXAMPLES", "10"))
    assert done.returncode == 0, done.stdout[-6000:]
    assert "No issues found" in done.stdout or "passed" in done.stdout
    assert " 500 " not in process.log and "Traceback" not in process.log


HEADERS = (
    "ETag", "Idempotency-Replayed", "Link", "Location", "RateLimit", "RateLimit-Policy",
    "Retry-After",
)  # fmt: skip


def test_the_headers_that_the_document_tells_of_are_those_that_are_sent(site: Site) -> None:
    site.serve("--no-jobs")
    document = json.loads(site.ask("GET", "/api/openapi.json")[2])
    shared = document["components"]
    seen: set[str] = set()

    def ask(method: str, pattern: str, wanted: int, body: object = None, **headers: str) -> Any:
        path = "/api/v1" + pattern.replace("{id}", row)
        status, sent, answer = site.ask(method, path, body, **headers)
        assert status == wanted, answer
        operation = document["paths"]["/api/v1" + pattern.partition("?")[0]][method.lower()]
        told = operation["responses"][str(status)]
        if "$ref" in told:
            told = shared["responses"][told["$ref"].rpartition("/")[2]]
        known = told.get("headers", {})
        found = {name for name in HEADERS if name.lower() in sent}
        required = {name for name in known if shared["headers"][name].get("required")}
        assert required <= found <= known.keys(), (method, path, status)
        seen.update(found)
        return json.loads(answer or "{}")

    row = ""
    body = {"code": "DE", "name": "Germany"}
    row = ask("POST", "/countries", 201, body, Idempotency_Key="1")["id"]
    ask("POST", "/countries", 201, body, Idempotency_Key="1")
    ask("POST", "/countries", 422, {})
    ask("POST", "/countries", 201, {"code": "FR", "name": "France"})
    for query in ("", "?limit=1", "?page=1&per_page=1"):
        ask("GET", "/countries" + query, 200)
    ask("GET", "/countries", 406, Accept="text/html")
    ask("GET", "/countries/{id}", 200)
    ask("GET", "/countries/{id}", 304, If_None_Match='"1"')
    ask("PATCH", "/countries/{id}", 200, {"name": "G"})
    ask("PUT", "/countries/{id}", 412, body, If_Match='"1"')
    ask("PUT", "/countries/{id}", 200, body, If_Match='"2"')
    ask("DELETE", "/countries/{id}", 204)
    ask("GET", "/countries/{id}", 404)
    assert seen == {*HEADERS} - {"Retry-After"}


def test_a_list_as_csv_is_sent_as_gzip(site: Site) -> None:
    site.serve("--no-jobs")
    site.create("countries", {"code": "DE", "name": "Germany"})
    _, _, plain = site.ask("GET", "/countries.csv")
    status, headers, packed = site.ask("GET", "/countries.csv", Accept_Encoding="gzip")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert gzip.decompress(packed) == plain and b"Germany" in plain


@pytest.mark.long
def test_a_project_of_every_kind_of_field_keeps_its_document(
    wide_artifact: Path, server: EmbeddedServer, tmp_path: Path
) -> None:
    with fresh_database(server, ()) as database:
        site = Site(wide_artifact, database, tmp_path)
        try:
            process = site.serve()
            validate(json.loads(site.ask("GET", "/api/openapi.json")[2]))
            roles = [word for role in ROLES for word in ("--role", role)]
            auth(site, "create-user", "anna@example.com", *roles)
            auth(site, "create-tenant", "north")
            auth(site, "grant", "anna@example.com", "--tenant", "north")
            key = auth(site, "create-key", "anna@example.com", "--tenant", "north")["key"]
            done = schemathesis(
                site, tmp_path, "-n", os.environ.get("FORGE_EXAMPLES", "15"),
                "-H", f"Authorization: Bearer {key}",
            )  # fmt: skip
            assert done.returncode == 0, done.stdout[-6000:]
            assert " 500 " not in process.log and "Traceback" not in process.log
        finally:
            site.stop()


def auth(site: Site, *words: str) -> Any:
    done = site.run("auth", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


CLIENT = """
import datetime, json, sys
from departures_client import Client
from departures_client.api.country import countries_create, countries_list
from departures_client.api.flight import flights_cancel, flights_create, flights_get, flights_list
from departures_client.models import CountryInput, FlightInput, FlightStatus, Problem

client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True)
ends = json.loads(sys.argv[2])
with client:
    made = countries_create.sync(client=client, body=CountryInput(code="FR", name="France"))
    assert made.name == "France" and made.version == 1, made
    again = countries_create.sync(client=client, body=CountryInput(code="FR", name="Again"))
    assert isinstance(again, Problem) and again.status == 409, again
    wrong = countries_create.sync_detailed(client=client, body=CountryInput(code="XXX", name="x"))
    assert wrong.status_code == 422 and wrong.parsed.errors[0].pointer == "/code", wrong
    page = countries_list.sync(client=client, sort="name", limit=1)
    assert [row.name for row in page.data] == ["France"] and page.pagination.has_more, page
    noon = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)
    flight = FlightInput("AF 1", ends[0], ends[1], noon, noon + datetime.timedelta(hours=1))
    flight = flights_create.sync(client=client, body=flight)
    assert flight.departs_at == noon and flight.status is FlightStatus.SCHEDULED, flight
    assert flights_get.sync(flight.id, client=client, include="origin").origin.name == "Frankfurt"
    assert flights_cancel.sync(flight.id, client=client).status is FlightStatus.CANCELLED
    (only,) = flights_list.sync(client=client, status="cancelled").data
    assert only.id == flight.id, only
print("done")
"""


@pytest.mark.thorough
def test_a_client_that_is_generated_from_the_document_works(site: Site, tmp_path: Path) -> None:
    site.serve("--no-jobs")
    country = site.create("countries", {"code": "DE", "name": "Germany"})
    place = {"country_id": country["id"], "latitude": "50", "longitude": "8"}
    ends = [
        site.create("airports", {"icao": icao, "name": name} | place)["id"]
        for icao, name in (("EDDF", "Frankfurt"), ("EDDM", "Munich"))
    ]
    (tmp_path / "openapi.json").write_bytes(site.ask("GET", "/api/openapi.json")[2])
    program = Path(sys.executable).with_name("openapi-python-client")
    done = subprocess.run(
        [
            str(program), "generate", "--path", "openapi.json", "--output-path", "client",
            "--meta", "none", "--fail-on-warning",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "client").rename(tmp_path / "departures_client")
    used = subprocess.run(
        [sys.executable, "-c", CLIENT, f"http://127.0.0.1:{site.port}", json.dumps(ends)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert used.stdout == "done\n", used.stderr
