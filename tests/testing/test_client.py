"""Client: requests of an application in this process are what they would be over a socket."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from forge_min.app import Runtime
from forge_min.auth import Identity, current_identity
from forge_min.testing import Client
from forge_min.wsgi import Application, Request, Response, Router, json_response

LINES = "/api/v1/lines"


@pytest.fixture
def client() -> Client:
    """Of an application that tells what it was asked."""

    def echo(request: Request) -> Response:
        told = {
            "method": request.method,
            "params": request.params,
            "query": request.query,
            "body": request.body.decode(),
            "type": request.content_type,
            "header": request.header("X-Some"),
            "user": current_identity().user,
            "address": request.environ["REMOTE_ADDR"],
        }
        return json_response(told)

    router = Router()
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        router.add(method, "/echo/{name}", echo)
    router.add("GET", "/events", lambda request: Response(200, endless(), HEADERS))
    router.add("GET", "/many", lambda request: Response(200, iter([b"a", b"b"]), COOKIES))
    return Client(Application(router))


HEADERS = [("Content-Type", "text/event-stream")]
COOKIES = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]


def endless() -> Any:
    """A stream that never ends."""
    while True:
        yield b": on and on\n\n"


def test_path_query_body_and_headers_arrive(client: Client) -> None:
    answer = client.post(
        "/echo/Z%C3%BC%20rich?a=1&a=%26&b=", json={"n": 1}, headers={"X-Some": "thing"}
    )
    assert answer.status == 200
    assert answer.json == {
        "method": "POST",
        "params": {"name": "Zü rich"},
        "query": {"a": ["1", "&"], "b": [""]},
        "body": '{"n": 1}',
        "type": "application/json",
        "header": "thing",
        "user": "",
        "address": "127.0.0.1",
    }
    assert answer.headers["content-type"] == answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_each_method_has_its_function(client: Client, method: str) -> None:
    ask: Callable[..., Any] = getattr(client, method)
    assert ask("/echo/a").json["method"] == method.upper()


def test_json_takes_what_rows_hold_and_a_body_may_be_anything(client: Client) -> None:
    answer = client.post("/echo/a", json={"at": date(2026, 1, 2), "n": Decimal("1.50")})
    assert answer.json["body"] == '{"at": "2026-01-02", "n": "1.50"}'
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.post("/echo/a", body=b"a=1", headers=form)
    assert (answer.json["body"], answer.json["type"]) == ("a=1", form["Content-Type"])
    assert client.post("/echo/a", json=False).json["body"] == "false"


def test_the_identity_is_who_calls_and_only_during_the_call(client: Client) -> None:
    client.identity = Identity("ann")
    assert client.get("/echo/a").json["user"] == "ann"
    assert current_identity().user == ""


def test_a_stream_is_closed_and_a_body_in_parts_is_joined(client: Client) -> None:
    assert client.get("/events").body == b""
    answer = client.get("/many")
    assert (answer.text, answer.headers.get_all("set-cookie")) == ("ab", ["a=1", "b=2"])


def test_an_unknown_path_is_a_problem_as_over_a_socket(client: Client) -> None:
    answer = client.get("/nothing")
    assert answer.status == 404 and answer.json["status"] == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.db
def test_a_started_project_is_asked_like_a_server(site: Runtime) -> None:
    client = Client(site)
    made = client.post(LINES, json={"slug": "u1", "year": 1902})
    assert made.status == 201 and made.json["slug"] == "u1"
    assert client.get(LINES + "/u1").json == made.json
    assert client.patch(LINES + "/u1", json={"year": 1}).json["errors"][0]["pointer"] == "/year"
    assert client.delete(LINES + "/u1").status == 204
    assert client.get(LINES + "/u1").status == 404


@pytest.mark.db
def test_streams_of_tenants_and_of_permissions_are_for_those_who_may_read(
    site: Runtime, manager: Identity
) -> None:
    def status(topic: str, **headers: str) -> int:
        named = {f"X-Test-{name.title()}": value for name, value in headers.items()}
        return Client(site).get(f"/events?topic={topic}", headers=named).status

    tenant = str(manager.tenant)
    assert status("lines") == 200
    assert status("orders") == status("lines&topic=orders") == 401
    assert status("orders", user="ann") == 403
    assert status("orders", user="ann", tenant=tenant) == 200
    assert status("accounts", user="ann", tenant=tenant) == 403
    assert status("accounts", user="ann", tenant=tenant, roles="member") == 200
