"""Users and API keys as an operator makes them, and what whoever holds one may do over HTTP."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from artifact_runner import Site
from forge_min.db import EmbeddedServer
from forge_min.testing import fresh_database
from openapi_spec_validator import validate

pytestmark = pytest.mark.db


@pytest.fixture(scope="module")
def site(
    wide_artifact: Path, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The wide project, whose accounts belong to tenants, named by X-Tenant-ID."""
    with fresh_database(server, ()) as database:
        made = Site(wide_artifact, database, tmp_path_factory.mktemp("keys"))
        made.environ["FORGE_TENANCY_STRATEGY"] = "header"
        made.environ["FORGE_SSE_HEARTBEAT"] = "200ms"
        made.environ["FORGE_API_RATE_LIMIT"] = '{default="20/1h", api_key="1000000/1m"}'
        made.environ["FORGE_SERVER_TRUSTED_PROXIES"] = '["127.0.0.1"]'
        try:
            made.serve()
            yield made
        finally:
            made.stop()


def auth(site: Site, *words: str) -> Any:
    """What `auth` answers with --json; it must succeed."""
    done = site.run("auth", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def key(site: Site, email: str, *options: str) -> str:
    return str(auth(site, "create-key", email, *options)["key"])


def ask(site: Site, method: str, path: str, secret: str, body: object = None, **more: str) -> Any:
    """(status, body)."""
    status, _, answer = site.ask(
        method, f"/api/v1{path}", body, Authorization=f"Bearer {secret}", **more
    )
    return status, json.loads(answer) if answer else None


@pytest.mark.thorough
def test_the_document_has_the_tenants_header_where_it_counts(site: Site) -> None:
    document = json.loads(site.ask("GET", "/api/openapi.json")[2])
    validate(document)
    for path, scoped in (("accounts", True), ("accounts/{id}", True), ("documents", False)):
        given = document["paths"][f"/api/v1/{path}"].get("parameters", ())
        assert [p["in"] for p in given if p["name"] == "X-Tenant-ID"] == ["header"] * scoped
    assert document["servers"] == [{"url": "/"}]


@pytest.mark.thorough
def test_a_key_opens_what_its_users_roles_open_in_its_tenant(site: Site) -> None:
    auth(site, "create-user", "Anna@example.com", "--name", "Anna")
    for slug in ("north", "south"):
        auth(site, "create-tenant", slug)
    roles = ("member", "manager", "admin")
    assert auth(site, "grant", "anna@example.com", *roles, "--tenant", "north")["roles"] == sorted(
        roles
    )
    secret = key(site, "anna@example.com", "--name", "ci")
    body = {"name": "Ours", "slug": "ours"}
    status, row = ask(site, "POST", "/accounts", secret, body, X_Tenant_ID="north")
    assert status == 201, row
    assert ask(site, "GET", f"/accounts/{row['id']}", secret, X_Tenant_ID="north")[0] == 200
    assert ask(site, "GET", f"/accounts/{row['id']}", secret, X_Tenant_ID="south")[0] == 403
    assert ask(site, "GET", f"/accounts/{row['id']}", secret)[0] in (403, 404)
    only = key(site, "anna@example.com", "--role", "member", "--tenant", "north")
    status, answer = ask(site, "DELETE", f"/accounts/{row['id']}", only)
    assert status == 403, answer
    listed = site.run("auth", "keys", "anna@example.com").stdout
    assert secret[:10] in listed and secret not in listed and "tenant: north" in listed


@pytest.mark.thorough
def test_a_revoked_key_is_401_and_its_streams_end(site: Site) -> None:
    auth(site, "create-user", "berta@example.com")
    auth(site, "create-tenant", "west")
    auth(site, "grant", "berta@example.com", "member", "--tenant", "west")
    secret = key(site, "berta@example.com", "--tenant", "west")
    assert ask(site, "GET", "/accounts", secret)[0] == 200
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as sock:
        head = f"GET /events?topic=accounts HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}"
        sock.sendall(f"{head}\r\n\r\n".encode())
        seen = sock.recv(65536)
        assert seen.startswith(b"HTTP/1.1 200 "), seen
        assert site.run("auth", "revoke-key", secret[:10]).returncode == 0
        while data := sock.recv(65536):
            seen += data
    assert b"event: close" in seen and b'"expired"' in seen
    status, problem = ask(site, "GET", "/accounts", secret)
    assert status == 401 and problem["code"] == "F604"


@pytest.mark.thorough
def test_keys_that_are_guessed_count_by_address(site: Site) -> None:
    """20 an hour; who has a good key has another allowance, from the same place too."""
    auth(site, "create-user", "carla@example.com")
    auth(site, "create-tenant", "east")
    auth(site, "grant", "carla@example.com", "member", "--tenant", "east")
    good = key(site, "carla@example.com", "--tenant", "east")
    place = {"X_Forwarded_For": "192.0.2.99"}
    found = [ask(site, "GET", "/accounts", f"fmk_{n}", **place)[0] for n in range(25)]
    assert found == [401] * 20 + [429] * 5
    assert ask(site, "GET", "/accounts", good, **place)[0] == 200


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("create-user", "nobody"), "F631"),
        (("create-user", "d@e.f", "--role", "1"), "F631"),
        (("create-tenant", "No Slug"), "F631"),
        (("create-key", "nobody@example.com"), "F633"),
        (("keys", "nobody@example.com"), "F633"),
        (("revoke-key", "fmk_xxxxxx"), "F633"),
        (("create-user",), "F010"),
        (("create-user", "a@b.c", "d@e.f"), "F010"),
        (("grant", "nobody@example.com"), "F010"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(
    site: Site, words: tuple[str, ...], code: str
) -> None:
    done = site.run("auth", *words)
    assert done.returncode == (2 if code == "F010" else 1)
    assert f"error[{code}]" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.thorough
def test_where_the_project_names_its_roles_no_other_is_given(site: Site) -> None:
    auth(site, "create-user", "dora@example.com")
    environ = {"FORGE_AUTH_ROLES": '["admin", "editor"]'}
    done = site.run("auth", "grant", "dora@example.com", "amdin", **environ)
    assert done.returncode == 2 and "admin, editor" in done.stderr
    assert site.run("auth", "grant", "dora@example.com", "admin", **environ).returncode == 0
