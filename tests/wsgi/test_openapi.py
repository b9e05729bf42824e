"""The document depends on where an application is mounted, and on what it is configured to do."""

from __future__ import annotations

import json
from typing import Any

from forge_min.api.openapi import build_document, document_handlers
from forge_min.wsgi import Application, Route, Router, json_response, tenant_in_path
from openapi_spec_validator import validate

ONE = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
ANSWER: dict[str, Any] = {"description": "The row"}
GENERATED: dict[str, Any] = {
    "paths": {
        "/flights": {"get": {"operationId": "flights.list", "responses": {"200": ANSWER}}},
        "/flights/{id}": {
            "parameters": [ONE],
            "patch": {"operationId": "flights.update", "tags": ["F"], "responses": {"200": ANSWER}},
        },
        "/words": {"get": {"operationId": "words.list", "responses": {"200": ANSWER}}},
    },
    "components": {"schemas": {}},
}
VERB = Route("POST", "/api/flights/{id}/cancel", lambda request: json_response({}), "flights.x")


def made(**options: Any) -> Any:
    found = build_document(GENERATED, [VERB], title="Shop", version="1", prefix="/api", **options)
    validate(found)
    return found


def servers(path: str, root: str = "", *, in_path: bool = True) -> Any:
    contract, _ = document_handlers(made(), tenant_in_path=in_path)
    router = Router()
    router.add("GET", "/api/openapi.json", contract)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": root}
    app = Application(router, outer=[tenant_in_path] if in_path else [])
    found = json.loads(b"".join(app(environ, lambda status, headers, exc=None: lambda data: None)))  # type: ignore[arg-type]
    validate(found)
    return [server["url"] for server in found["servers"]]


def test_the_paths_begin_where_the_application_is_mounted() -> None:
    assert servers("/api/openapi.json", in_path=False) == ["/"]
    assert servers("/api/openapi.json", "/shop", in_path=False) == ["/shop"]


def test_a_tenant_in_the_path_stands_before_the_paths() -> None:
    assert servers("/t/acme/api/openapi.json") == ["/t/acme"]
    assert servers("/t/acme/api/openapi.json", "/shop") == ["/shop/t/acme"]
    assert servers("/t/{x}/api/openapi.json") == ["/t/%7Bx%7D"]
    assert servers("/api/openapi.json") == ["/t/{tenant}", "/"]
    assert servers("/api/openapi.json", "/shop") == ["/shop/t/{tenant}", "/shop"]


def names(operation: Any) -> list[str]:
    return [found["name"] for found in operation.get("parameters", ())]


def test_the_tenants_header_is_a_parameter_of_what_belongs_to_tenants() -> None:
    paths = made(tenant_header="X-Tenant", scoped=["flights"])["paths"]
    assert names(paths["/api/flights"]) == ["X-Tenant"]
    assert names(paths["/api/flights/{id}"]) == ["id", "X-Tenant"]
    assert names(paths["/api/flights/{id}/cancel"]["post"]) == ["id", "X-Tenant"]
    assert names(paths["/api/words"]) == []
    assert names(made(scoped=["flights"])["paths"]["/api/flights"]) == []


def test_limits_are_told_of_where_there_are_any() -> None:
    for limited in (True, False):
        found = made(limited=limited)
        wanted = {"RateLimit", "RateLimit-Policy"} if limited else set()
        responses = found["components"]["responses"]
        cancel = found["paths"]["/api/flights/{id}/cancel"]["post"]["responses"]["200"]
        assert cancel.get("headers", {}).keys() == wanted
        assert responses["403"].get("headers", {}).keys() == wanted
        assert responses["429"]["headers"].keys() == wanted | {"Retry-After"}


def test_the_stream_says_whom_it_refuses_and_who_may_ask() -> None:
    events = Route("GET", "/events", lambda request: json_response({}), "events")
    found = build_document(GENERATED, [events], title="S", version="1", prefix="/api", limited=True)
    validate(found)
    told = found["paths"]["/events"]["get"]
    assert told["responses"].keys() == {"200", "400", "401", "403", "404", "429", "500", "503"}
    headers = {
        status: set(answer.get("headers", ())) for status, answer in told["responses"].items()
    }
    assert headers["429"] == headers["503"] == {"Retry-After"} and headers["404"] == set()
    assert told["security"] == [{}, {"bearer": []}]
