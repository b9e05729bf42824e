"""The JSON API of the example as a PEP 3333 application on a real database: the contract, spelt
out.
"""

from __future__ import annotations

import importlib
import io
import json
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from forge_min.wsgi import Application, Router

pytestmark = pytest.mark.db


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        **headers: str,
    ) -> Answer:
        path, _, query = path.partition("?")
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "wsgi.input": io.BytesIO(data),
            "CONTENT_LENGTH": str(len(data)),
            "CONTENT_TYPE": "application/json",
        }
        environ |= {"HTTP_" + k.upper(): v for k, v in headers.items() if k != "content_type"}
        if "content_type" in headers:
            environ["CONTENT_TYPE"] = headers["content_type"]
        seen: list[Any] = []
        chunks = self._app(environ, lambda status, hs, exc=None: seen.extend([status, hs]))  # type: ignore[arg-type]
        names = {k.lower(): v for k, v in seen[1]}
        return Answer(int(seen[0][:3]), names, b"".join(chunks))


@pytest.fixture
def ask(example: Any) -> Client:
    router = Router()
    registry = importlib.import_module("gen.registry")
    for route in registry.register(example.registry, "/api/v1"):
        router.add(route.method, route.pattern, route.handler, name=route.name)
    return Client(Application(router))


def country(ask: Client, code: str = "DE") -> Any:
    answer = ask("POST", "/api/v1/countries", {"code": code, "name": f"Country {code}"})
    assert answer.status == 201
    return answer


def test_create_gives_location_and_etag_and_the_row_is_there(ask: Client) -> None:
    made = country(ask)
    assert made.headers["location"] == f"/api/v1/countries/{made.json['id']}"
    assert made.headers["etag"] == '"1"'
    got = ask("GET", made.headers["location"])
    assert (got.status, got.json, got.headers["etag"]) == (200, made.json, '"1"')
    assert got.json["created_at"].endswith("Z")


def test_if_none_match_saves_the_body(ask: Client) -> None:
    where = country(ask).headers["location"]
    for tag in ('"1"', 'W/"1"', '"0", "1"', "*"):
        answer = ask("GET", where, if_none_match=tag)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", '"1"')
    assert ask("GET", where, if_none_match='"2"').status == 200


def test_patch_merges_and_put_replaces(ask: Client) -> None:
    where = country(ask).headers["location"]
    patched = ask("PATCH", where, {"name": "Other"})
    assert patched.json["name"] == "Other" and patched.json["code"] == "DE"
    assert patched.headers["etag"] == '"2"'
    assert ask("PUT", where, {"code": "DE"}).status == 422
    replaced = ask("PUT", where, {"code": "DE", "name": "Whole"})
    assert (replaced.status, replaced.json["version"]) == (200, 3)


def test_if_match_is_honoured_by_every_write(ask: Client) -> None:
    where = country(ask).headers["location"]
    assert ask("PATCH", where, {"name": "B"}, if_match='"1"').status == 200
    for wrong in ('"1"', 'W/"2"', "2", '"x"', '"2", "3"', '""'):
        assert ask("PATCH", where, {"name": "C"}, if_match=wrong).status == 412, wrong
        assert ask("PUT", where, {"code": "DE", "name": "C"}, if_match=wrong).status == 412
        assert ask("DELETE", where, if_match=wrong).status == 412
    assert ask("GET", where).json["name"] == "B"
    assert ask("PATCH", where, {"name": "D"}, if_match="*").status == 200
    assert ask("DELETE", where, if_match='"3"').status == 204
    assert ask("GET", where).status == 404


def test_problems_are_problem_json_with_every_pointer(ask: Client) -> None:
    answer = ask("POST", "/api/v1/countries", {"code": "DEU", "wings": 1})
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json
    assert {e["pointer"] for e in problem["errors"]} == {"/code", "/name", "/wings"}
    assert problem["status"] == 422 and problem["code"] == "F603" and problem["request_id"]
    assert answer.headers["x-request-id"] == problem["request_id"]


def test_a_unique_value_that_is_taken_is_409_with_its_field(ask: Client) -> None:
    country(ask)
    answer = ask("POST", "/api/v1/countries", {"code": "DE", "name": "Again"})
    assert answer.status == 409
    assert [e["pointer"] for e in answer.json["errors"]] == ["/code"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"code": NaN}',
        b'{"name": "\xff"}',
        b'{"code": 1e999999999}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"name": ' + b"9" * 10_000 + b"}",
    ],
)
def test_bodies_that_are_no_object_are_4xx_and_never_500(ask: Client, raw: bytes) -> None:
    answer = ask("POST", "/api/v1/countries", raw=raw)
    assert answer.status in (400, 422), answer
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "value",
    [
        "\x00",
        "a\x00b",
        "\ud800",
        1,
        True,
        [],
        {},
        "x" * 81,
        10**400,
        1.5,
    ],
)
def test_values_of_a_wrong_type_are_422(ask: Client, value: object) -> None:
    answer = ask("POST", "/api/v1/countries", {"code": "DE", "name": value})
    assert answer.status == 422, answer
    assert [e["pointer"] for e in answer.json["errors"]] == ["/name"]


@pytest.mark.parametrize("value", ["1e400", "NaN", "-Infinity", "1e", "0x10", "١", "", " 1", 1e400])
def test_decimals_are_digits_only(ask: Client, value: object) -> None:
    body = {
        "icao": "X",
        "name": "X",
        "country_id": country(ask).json["id"],
        "latitude": value,
        "longitude": "1",
    }
    raw = json.dumps(body).encode()
    answer = ask("POST", "/api/v1/airports", raw=raw)
    assert answer.status in (400, 422)


def test_a_number_keeps_its_digits(ask: Client) -> None:
    place = country(ask).json["id"]
    raw = (
        b'{"icao": "X", "name": "X", "country_id": "%s", "latitude": 52.123456, "longitude": 0.1}'
        % place.encode()
    )
    answer = ask("POST", "/api/v1/airports", raw=raw)
    assert answer.status == 201
    assert (answer.json["latitude"], answer.json["longitude"]) == ("52.123456", "0.100000")


def test_another_content_type_is_415(ask: Client) -> None:
    assert ask("POST", "/api/v1/countries", raw=b"code=DE", content_type="text/plain").status == 415


@pytest.mark.parametrize("id", ["42", "x", str(uuid4())[:-1], "%00", str(uuid4()) + "0"])
def test_an_id_that_is_none_is_404(ask: Client, id: str) -> None:
    for method in ("GET", "DELETE"):
        assert ask(method, f"/api/v1/countries/{id}").status == 404


def test_a_method_that_is_not_there_is_405_with_allow(ask: Client) -> None:
    answer = ask("DELETE", "/api/v1/countries")
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}


def test_lists_have_cursors_and_link_headers(ask: Client) -> None:
    for code in ("AA", "BB", "CC"):
        country(ask, code)
    first = ask("GET", "/api/v1/countries?sort=code&limit=2&name[contains]=Country")
    assert [c["code"] for c in first.json["data"]] == ["AA", "BB"]
    assert first.json["pagination"]["has_more"] is True
    url = first.headers["link"].split(">")[0].removeprefix("<")
    assert 'rel="next"' in first.headers["link"] and "name%5Bcontains%5D=Country" in url
    second = ask("GET", url)
    assert [c["code"] for c in second.json["data"]] == ["CC"]
    assert second.json["pagination"]["has_more"] is False
    assert 'rel="prev"' in second.headers["link"]
    assert ask("GET", "/api/v1/countries?code=ZZ").json["pagination"] == {
        "next": None,
        "prev": None,
        "has_more": False,
    }


def test_numbered_pages_tell_the_total(ask: Client) -> None:
    for code in ("AA", "BB", "CC"):
        country(ask, code)
    page = ask("GET", "/api/v1/countries?page=2&per_page=2&sort=code").json
    assert page["pagination"] == {
        "page": 2,
        "per_page": 2,
        "total": 3,
        "pages": 2,
        "has_more": False,
    }
    assert [c["code"] for c in page["data"]] == ["CC"]


def test_a_filter_that_is_none_is_400_naming_those_that_are(ask: Client) -> None:
    answer = ask("GET", "/api/v1/airports?latitude=1")
    assert answer.status == 400 and "icao" in answer.json["detail"]


def test_every_answer_has_the_security_headers(ask: Client) -> None:
    for answer in (ask("GET", "/api/v1/countries"), ask("GET", "/nowhere"), country(ask)):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_openapi_names_every_generated_route_and_is_well_formed(
    ask: Client, project: Any, example: Any
) -> None:
    from forge_min.wsgi.openapi import document

    routes = importlib.import_module("gen.registry").register(example.registry, "/api/v1")
    generated = json.loads((project / "gen" / "openapi.json").read_text())
    made = document(generated, routes, title="t", version="1", prefix="/api/v1")
    described = {
        (method.upper(), path)
        for path, item in made["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert described == {(r.method, r.pattern) for r in routes}
    text = json.dumps(made)
    for name in [part.split('"')[0] for part in text.split("#/components/schemas/")[1:]]:
        assert name in made["components"]["schemas"]
