"""The JSON API of the example as a PEP 3333 application on a real database: the contract, spelt
out.
"""

from __future__ import annotations

import gzip
import importlib
import io
import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from forge_min.actions import Limits
from forge_min.api.resource import ResourceAPI
from forge_min.auth import ANONYMOUS, Identity, as_identity
from forge_min.errors import StaleVersion
from forge_min.testing import TestDatabase
from forge_min.wsgi import Application, Router

from workshop import ANN, BOB, BOSS, WRITER, Workshop, together, workshop

pytestmark = pytest.mark.db

ID = "2f1f7c5e-0f3c-4b6e-9b53-0d1f6b1f6a10"


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


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_row_may_come_back_as_it_was_read(ask: Client, method: str) -> None:
    where = country(ask).headers["location"]
    read = ask("GET", where).json
    changed = ask(method, where, read | {"name": "Other"})
    assert changed.status == 200
    assert changed.json == read | {k: changed.json[k] for k in ("name", "version", "updated_at")}
    assert changed.json["name"] == "Other" and changed.json["version"] == 2
    # Not as it is now, nor what never was.
    stale = ask(method, where, read | {"name": "Third"})
    assert stale.status == 422
    assert {e["pointer"] for e in stale.json["errors"]} == {"/version", "/updated_at"}
    for tag in ('"1"', '"1", "7"', 'W/"1"'):  # who sends the version with it is told of that
        assert ask(method, where, read | {"name": "Third"}, if_match=tag).status == 412, tag
    for tag in ('"2"', "*"):
        assert ask(method, where, read | {"name": "Third"}, if_match=tag).status == 422, tag
    for wrong in ({"id": str(uuid4())}, {"created_at": None}, {"version": "2"}):
        answer = ask(method, where, {"code": "DE", "name": "X"} | wrong)
        (error,) = answer.json["errors"]
        assert (answer.status, error["code"]) == (422, "not_writable")
    assert ask(method, f"/api/v1/countries/{uuid4()}", read).status == 404
    assert ask("POST", "/api/v1/countries", read | {"code": "FR"}).status == 422
    assert ask("GET", where).json == changed.json


def test_if_match_is_honoured_by_every_write(ask: Client) -> None:
    where = country(ask).headers["location"]
    assert ask("PATCH", where, {"name": "B"}, if_match='"1"').status == 200
    for wrong in ('"1"', 'W/"2"', "2", '"x"', '"1", "3"', 'W/"2", "1"', '"2"x', '""'):
        assert ask("PATCH", where, {"name": "C"}, if_match=wrong).status == 412, wrong
        assert ask("PUT", where, {"code": "DE", "name": "C"}, if_match=wrong).status == 412
        assert ask("DELETE", where, if_match=wrong).status == 412
    assert ask("GET", where).json["name"] == "B"
    assert ask("PATCH", where, {"name": "D"}, if_match="*").status == 200
    assert ask("PATCH", where, {"name": "E"}, if_match='"x", "2",W/"9" , "3"').status == 200
    assert ask("DELETE", where, if_match='"4"').status == 204
    assert ask("GET", where).status == 404


def test_a_change_that_wants_no_row_there_changes_none(ask: Client) -> None:
    where = country(ask).headers["location"]
    body = {"code": "DE", "name": "C"}
    for method in ("PUT", "PATCH", "DELETE"):
        assert ask(method, where, body, if_none_match="*").status == 412
    assert ask("GET", where).json["version"] == 1
    nowhere = f"/api/v1/countries/{uuid4()}"
    assert ask("PUT", nowhere, body, if_none_match="*").status == 404


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


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/merge-patch+json; charset=utf-8", 200),
        ("Application/Merge-Patch+JSON", 200),
        ("application/json-patch+json", 415),
        ("application/vnd.api+json", 415),
        ("text/plain", 415),
        ("", 415),
    ],
)
def test_a_patch_is_a_merge_patch_or_415_that_says_so(ask: Client, kind: str, status: int) -> None:
    where = country(ask).headers["location"]
    answer = ask("PATCH", where, {"name": "B"}, content_type=kind)
    assert answer.status == status
    if status == 415:
        assert answer.json["code"] == "F522"
        types = "application/merge-patch+json, application/json"
        assert answer.headers["accept-patch"] == types and types in answer.json["detail"]
    assert ask("GET", where).json["name"] == ("B" if status == 200 else "Country DE")


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "identity, gzip", "x"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_compressed_body_is_415(ask: Client, method: str, coding: str) -> None:
    path = "/api/v1/countries" if method == "POST" else country(ask).headers["location"]
    raw = gzip.compress(b'{"code": "FR", "name": "France"}')
    answer = ask(method, path, raw=raw, content_encoding=coding)
    assert (answer.status, answer.json["code"]) == (415, "F522")
    assert answer.headers["accept-encoding"] == "identity"


def test_a_body_may_say_that_it_is_as_it_is(ask: Client) -> None:
    body = {"code": "FR", "name": "France"}
    assert ask("POST", "/api/v1/countries", body, content_encoding=" Identity").status == 201


@pytest.mark.parametrize("id", ["42", "x", ID[:-1], "%00", ID + "0"])
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
        "total_is_estimate": False,
        "pages": 2,
        "has_more": False,
    }
    assert [c["code"] for c in page["data"]] == ["CC"]


def test_numbered_pages_have_links_to_the_others(ask: Client) -> None:
    for code in ("AA", "BB", "CC"):
        country(ask, code)

    def linked(page: int, more: str = "&name[contains]=Country") -> dict[str, str]:
        answer = ask("GET", f"/api/v1/countries?page={page}&per_page=1&sort=code{more}")
        parts = answer.headers.get("link", "").split(", ")
        pairs = [part.removeprefix("<").split('>; rel="') for part in parts if part]
        return {rel.removesuffix('"'): url for url, rel in pairs}

    assert linked(1).keys() == {"first", "next", "last"}
    assert linked(3).keys() == {"first", "prev", "last"}
    middle = {rel: ask("GET", url) for rel, url in linked(2).items()}
    shown = {rel: answer.json["data"][0]["code"] for rel, answer in middle.items()}
    assert shown == {"first": "AA", "prev": "AA", "next": "CC", "last": "CC"}
    assert all("name%5Bcontains%5D=Country" in url for url in linked(2).values())
    beyond = linked(9)
    assert beyond.keys() == {"first", "prev", "last"} and beyond["prev"] == beyond["last"]
    assert linked(1, "&code=ZZ") == {}


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
    from forge_min.api.openapi import build_document

    routes = importlib.import_module("gen.registry").register(example.registry, "/api/v1")
    generated = json.loads((project / "gen" / "openapi.json").read_text())
    made = build_document(generated, routes, title="t", version="1", prefix="/api/v1")
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


# -- everything a resource may declare, on a workshop --------------------------------------------


@pytest.fixture
def works(fresh_database: TestDatabase) -> Iterator[Workshop]:
    with workshop(fresh_database) as made:
        yield made


@pytest.fixture
def ask_as(works: Workshop) -> Callable[..., Answer]:
    """Ask in the name of an identity."""
    router = Router()
    for topic, actions in works.registry.actions.items():
        api = ResourceAPI(actions, f"/api/v1/{topic}")
        polish = api.verb(lambda key, _, get=actions.get: get(key), "", "delete")
        one = f"/api/v1/{topic}/{{id}}"
        for method, path, handler in (
            ("GET", f"/api/v1/{topic}", api.list),
            ("POST", f"/api/v1/{topic}", api.create),
            ("GET", one, api.get),
            ("PATCH", one, api.update),
            ("PUT", one, api.replace),
            ("DELETE", one, api.delete),
            ("POST", one + "/restore", api.restore),
            ("GET", one + "/audit", api.audit),
            ("POST", one + "/polish", polish),
        ):
            router.add(method, path, handler)
    client = Client(Application(router))

    def ask(identity: Identity, method: str, path: str, *args: Any, **headers: Any) -> Answer:
        with as_identity(identity):
            return client(method, "/api/v1/" + path, *args, **headers)

    return ask


Ask = Callable[..., Answer]


def test_related_rows_are_embedded_in_lists_and_rows(works: Workshop, ask_as: Ask) -> None:
    works.tags("red", "new")
    maker = ask_as(ANN, "POST", "makers", {"name": "Mill"}).json
    body = {"code": "A", "maker_id": maker["id"], "tag_ids": ["red", "new"]}
    made = ask_as(ANN, "POST", "products", body).json
    assert "maker" not in made
    got = ask_as(ANN, "GET", f"products/{made['id']}?include=maker,tags")
    assert got.json["maker"] == maker
    assert [tag["slug"] for tag in got.json["tags"]] == ["red", "new"]
    listed = ask_as(ANN, "GET", "products?include=tags").json["data"]
    assert [tag["slug"] for tag in listed[0]["tags"]] == ["red", "new"]
    back = ask_as(ANN, "GET", "tags/red?include=products").json
    assert [each["code"] for each in back["products"]] == ["A"]
    for wrong in ("products?include=x", f"products/{made['id']}?include=maker,maker_id"):
        answer = ask_as(ANN, "GET", wrong)
        assert answer.status == 400 and "maker, tags" in answer.json["detail"]


def test_a_list_that_is_too_large_is_sent_in_several_pages(works: Workshop, ask_as: Ask) -> None:
    def read_all(path: str) -> list[list[str]]:
        pages, cursor = [], ""
        while cursor is not None:
            page = ask_as(ANN, "GET", f"{path}{cursor}").json
            pages.append([row.get("code") for row in page["data"]])
            cursor = page["pagination"]["next"]
            assert page["pagination"]["has_more"] is (cursor is not None)
            cursor = cursor and f"{'&' if '?' in path else '?'}cursor={cursor}"
        return pages

    works["products"].limits = Limits(response=8_000)
    for code in "ABC":
        body = {"code": code, "details": {"x": "a" * 3_000}}
        assert ask_as(ANN, "POST", "products", body).status == 201
    assert read_all("products") == [["C", "B"], ["A"]]
    answer = ask_as(ANN, "GET", "products?page=1")
    assert (answer.status, answer.json["code"]) == (400, "F646")
    assert "ask for fewer rows" in answer.json["detail"]
    # Control characters are six times as long in JSON, which PostgreSQL does not add up.
    works["makers"].limits = Limits(response=500)
    for code in "DEF":
        maker = ask_as(ANN, "POST", "makers", {"name": code + "\x01" * 35}).json["id"]
        body = {"code": code, "maker_id": maker}
        assert ask_as(ANN, "POST", "products", body).status == 201
    assert [len(page) for page in read_all("makers")] == [1, 1, 1]
    answer = ask_as(ANN, "GET", "makers?page=1")
    assert (answer.status, answer.json["code"]) == (400, "F646")
    works["products"].limits = Limits(response=1_200)
    sizes = [len(page) for page in read_all("products?include=maker")]
    assert sizes[-3:] == [1, 1, 1] and sum(sizes) == 6


def test_a_row_with_related_rows_is_never_said_to_be_unchanged(
    works: Workshop, ask_as: Ask
) -> None:
    made = works.product("A")
    path = f"products/{made.id}"
    etag = ask_as(ANN, "GET", path).headers["etag"]
    assert ask_as(ANN, "GET", path, if_none_match=etag).status == 304
    assert ask_as(ANN, "GET", path + "?include=tags", if_none_match=etag).status == 200


def test_who_sees_more_gets_another_tag_of_the_same_version(works: Workshop, ask_as: Ask) -> None:
    path = f"products/{works.product('A').id}"
    less, more = (ask_as(who, "GET", path).headers["etag"] for who in (ANN, BOSS))
    assert less != more
    assert ask_as(BOSS, "GET", path, if_none_match=less).status == 200
    assert ask_as(BOSS, "PATCH", path, {"name": "x"}, if_match=less).status == 200
    assert ask_as(ANN, "PATCH", path, {"name": "y"}, if_match=more).status == 412


def test_any_version_is_any_while_others_write(works: Workshop, ask_as: Ask) -> None:
    ask_as(ANN, "POST", "units", {"code": "kg"})

    def change(name: str) -> None:
        for n in range(10):
            answer = ask_as(ANN, "PATCH", "units/kg", {"name": f"{name}{n}"}, if_match="*")
            assert answer.status == 200, answer

    assert together(*[partial(change, name) for name in "ab"]) == []


def test_a_version_that_is_over_holds_nobody_up_while_others_write(
    works: Workshop, ask_as: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9110 section 13.1.2: none of the versions in between is the one that is named."""
    ask_as(ANN, "POST", "units", {"code": "kg"})
    ask_as(ANN, "PATCH", "units/kg", {"name": "a"}, if_match="*")
    read, names = ResourceAPI._present, count()

    def present(self: ResourceAPI, key: object) -> int:
        now = read(self, key)
        ask_as(ANN, "PATCH", "units/kg", {"name": f"{next(names)}"}, if_match="*")
        return now

    monkeypatch.setattr(ResourceAPI, "_present", present)
    change = {"name": "x"}
    done = ask_as(ANN, "PATCH", "units/kg", change, if_none_match='"1"')
    assert done.status == 200
    now = done.headers["etag"]
    assert ask_as(ANN, "PATCH", "units/kg", change, if_none_match=now).status == 412


def test_no_row_has_version_0(works: Workshop, ask_as: Ask) -> None:
    """In Python that number stands for any version."""
    ask_as(ANN, "POST", "units", {"code": "kg"})
    for tag in ('"0"', '"00"', '"01"'):
        assert ask_as(ANN, "PATCH", "units/kg", {"name": "x"}, if_match=tag).status == 412
        assert ask_as(ANN, "DELETE", "units/kg", if_match=tag).status == 412
    assert ask_as(ANN, "PATCH", "units/kg", {"name": "x"}, if_match='"1"').status == 200


def test_a_restore_takes_the_version_that_it_is_given(works: Workshop, ask_as: Ask) -> None:
    path = f"products/{works.product('A').id}"
    assert ask_as(BOSS, "DELETE", path).status == 204
    assert ask_as(BOSS, "POST", path + "/restore", if_match='"9"').status == 412
    assert ask_as(BOSS, "POST", path + "/restore", if_match='"2"').status == 200


@pytest.mark.parametrize(
    ("status", "given"),
    [
        (200, {"if_match": '"8", "2"'}),
        (412, {"if_match": '"8", "9"'}),
        (200, {"if_none_match": '"1"'}),
        (412, {"if_none_match": '"1", "2"'}),
    ],
)
def test_a_restore_is_held_against_the_version_of_the_deleted_row(
    works: Workshop, ask_as: Ask, status: int, given: dict[str, str]
) -> None:
    path = f"products/{works.product('A').id}"
    assert ask_as(BOSS, "DELETE", path).status == 204
    assert ask_as(BOSS, "POST", path + "/restore", **given).status == status


@pytest.mark.parametrize("code", ["", "a/b", "x" * 501])
def test_a_key_that_fits_no_address_is_422(ask_as: Ask, works: Workshop, code: str) -> None:
    answer = ask_as(ANN, "POST", "units", {"code": code, "name": "x"})
    assert answer.status == 422 and answer.json["errors"][0]["pointer"] == "/code"


def test_a_list_is_searched_with_q(works: Workshop, ask_as: Ask) -> None:
    works.product("A", name="green lamp")
    works.product("B", name="lamp lamp lamp")
    works.product("C", name="chair")
    found = ask_as(ANN, "GET", "products?q=lamp&limit=1")
    assert [each["code"] for each in found.json["data"]] == ["B"]
    url = found.headers["link"].split(">")[0].removeprefix("</api/v1/")
    assert [each["code"] for each in ask_as(ANN, "GET", url).json["data"]] == ["A"]
    assert ask_as(ANN, "GET", "makers?q=lamp").status == 400
    assert ask_as(ANN, "GET", "products?q=" + "x" * 201).status == 400


def test_what_few_may_see_is_absent_for_the_others_everywhere(works: Workshop, ask_as: Ask) -> None:
    made = ask_as(BOSS, "POST", "products", {"code": "A", "cost": "1.50"})
    assert made.json["cost"] == "1.50"
    path = f"products/{made.json['id']}"
    for answer in (
        ask_as(ANN, "GET", path),
        ask_as(ANN, "PATCH", path, {"name": "x"}),
        ask_as(ANN, "GET", "products"),
        ask_as(ANN, "GET", path + "/audit"),
        ask_as(ANN, "GET", path + "?include=tags"),
    ):
        assert answer.status == 200 and b"cost" not in answer.body
    (update, create) = ask_as(BOSS, "GET", path + "/audit").json["data"]
    assert create["changes"]["cost"] == [None, "1.50"]


def test_a_log_holds_no_keys_of_rows_that_may_not_be_read(
    works: Workshop, ask_as: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.tags("red")
    path = f"products/{works.product('A', tag_ids=['red']).id}/audit"
    assert ask_as(ANN, "GET", path).json["data"][0]["changes"]["tag_ids"] == [None, ["red"]]
    tags = type(works["tags"])
    guarded = tags.resource._replace(permissions={"read": ("boss",)})
    monkeypatch.setattr(tags, "resource", guarded)
    answer = ask_as(ANN, "GET", path)
    assert answer.status == 200 and b"red" not in answer.body
    assert b"red" in ask_as(BOSS, "GET", path).body


def test_a_log_of_a_field_that_had_another_type_shows_what_was_there(
    works: Workshop, ask_as: Ask
) -> None:
    path = f"products/{works.product('A').id}/audit"
    old = {"seen_at": ["yesterday", 5], "price": ["cheap", True], "details": [1.5, None]}
    works.owner.execute("update forge_audit set changes = %s", [json.dumps(old)])
    (entry,) = ask_as(ANN, "GET", path).json["data"]
    assert entry["changes"] == old


def test_a_missing_identity_role_or_tenant_is_401_or_403(works: Workshop, ask_as: Ask) -> None:
    made = works.product("A")
    for path in ("products", f"products/{made.id}", f"products/{made.id}/audit"):
        assert ask_as(ANONYMOUS, "GET", path).status == 401
        assert ask_as(Identity(user="x"), "GET", path).status == 403
    assert ask_as(ANN, "DELETE", f"products/{made.id}").status == 403
    assert ask_as(ANN, "POST", f"products/{made.id}/polish", {}).status == 403
    assert ask_as(BOB, "GET", f"products/{made.id}").status == 404
    assert ask_as(BOB, "GET", f"products/{made.id}/audit").status == 404
    assert ask_as(BOB, "PATCH", f"products/{made.id}", {"name": "x"}).status == 404


def test_a_deleted_row_is_gone_until_it_is_restored(works: Workshop, ask_as: Ask) -> None:
    made = works.product("A")
    path = f"products/{made.id}"
    assert ask_as(BOSS, "DELETE", path).status == 204
    assert ask_as(BOSS, "GET", path).status == 404
    assert ask_as(BOSS, "GET", "products").json["data"] == []
    restored = ask_as(BOSS, "POST", path + "/restore")
    assert (restored.status, restored.headers["etag"], restored.json["deleted_at"]) == (
        200,
        '"3"',
        None,
    )
    assert ask_as(BOSS, "POST", f"products/{uuid4()}/restore").status == 404


def test_the_audit_of_a_row_is_paged_the_newest_first(works: Workshop, ask_as: Ask) -> None:
    made = ask_as(ANN, "POST", "products", {"code": "A", "price": "1.10"}).json
    path = f"products/{made['id']}"
    for n in range(3):
        ask_as(ANN, "PATCH", path, {"price": f"{n}.00", "seen_at": "2026-11-25T08:30:00+02:00"})
    assert ask_as(BOSS, "DELETE", path).status == 204
    first = ask_as(ANN, "GET", path + "/audit?limit=2")
    assert [e["operation"] for e in first.json["data"]] == ["delete", "update"]
    entry = first.json["data"][1]
    assert entry["changes"]["price"] == ["1.00", "2.00"]
    assert (entry["version"], entry["actor"], entry["at"][-1]) == (4, "ann", "Z")
    assert set(entry) == {
        "id", "operation", "version", "actor", "request_id", "at", "changes", "reason",
        "actor_name", "actor_email",
    }  # fmt: skip
    assert first.json["pagination"]["has_more"] is True
    url = first.headers["link"].split(">")[0].removeprefix("</api/v1/")
    second = ask_as(ANN, "GET", url).json
    third = ask_as(ANN, "GET", path + f"/audit?limit=2&cursor={second['pagination']['next']}").json
    assert [e["operation"] for e in second["data"] + third["data"]] == [
        "update",
        "update",
        "create",
    ]
    assert second["data"][1]["changes"]["seen_at"] == [None, "2026-11-25T06:30:00Z"]
    assert third["pagination"] == {"next": None, "prev": None, "has_more": False}
    other = works.product("B")
    token = second["pagination"]["next"]
    for wrong in ("limit=0", "cursor=x", "page=1", "sort=id", "q=x"):
        assert ask_as(ANN, "GET", f"{path}/audit?{wrong}").status == 400
    assert ask_as(ANN, "GET", f"products/{other.id}/audit?cursor={token}").status == 400
    assert ask_as(ANN, "GET", f"products/{uuid4()}/audit").status == 404


def test_the_history_is_closed_to_anonymous_users_by_default(
    works: Workshop, ask_as: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = type(works["people"])

    def permit(**permissions: tuple[str, ...]) -> None:
        changed = people.resource._replace(permissions=permissions)
        monkeypatch.setattr(people, "resource", changed)

    ((anna,),) = works.sql(
        "insert into forge_user (email, name) values ('anna@example.com', 'Anna')"
        " returning id::text"
    )
    permit()
    with as_identity(Identity(user=anna)):
        row = works["people"].create({"name": "Wim"})
        works["people"].delete(row.id)
    path = f"people/{row.id}"
    assert ask_as(ANONYMOUS, "GET", path).status == 404
    assert ask_as(ANONYMOUS, "GET", path + "/audit").status == 401
    user, auditor = Identity(user="bob"), Identity(user="eve", roles=frozenset(["auditor"]))
    entry = ask_as(user, "GET", path + "/audit").json["data"][0]
    assert entry["changes"]["name"] == ["Wim", None]
    named = (entry["actor"], entry["actor_name"], entry["actor_email"])
    assert named == (anna, "", ""), "names are for those with a declared permission"
    permit(read=("reader",))
    assert ask_as(user, "GET", path + "/audit").status == 403, "who may not read"
    permit(read=("anybody",))
    assert ask_as(ANONYMOUS, "GET", path + "/audit").status == 401
    assert ask_as(user, "GET", path + "/audit").status == 200
    permit(audit=("auditor",))
    assert ask_as(ANONYMOUS, "GET", "people").status == 200, "it closes nothing else"
    assert ask_as(ANONYMOUS, "GET", path + "/audit").status == 401
    assert ask_as(user, "GET", path + "/audit").status == 403
    entry = ask_as(auditor, "GET", path + "/audit").json["data"][0]
    assert (entry["actor_name"], entry["actor_email"]) == ("Anna", "anna@example.com")
    permit(audit=("anybody",))
    entry = ask_as(ANONYMOUS, "GET", path + "/audit").json["data"][0]
    assert (entry["actor_name"], entry["actor_email"]) == ("", ""), "names are for users"


def test_a_versioned_row_is_changed_with_if_match_only(works: Workshop, ask_as: Ask) -> None:
    made = ask_as(ANN, "POST", "units", {"code": "m s 1", "name": "speed"})
    assert made.headers["location"] == "/api/v1/units/m%20s%201"
    ask_as(ANN, "POST", "units", {"code": "kg"})
    whole = {"code": "kg", "name": "mass"}
    for method, body in (("PATCH", {"name": "x"}), ("PUT", whole), ("DELETE", None)):
        assert ask_as(ANN, method, "units/kg", body).status == 428
        assert ask_as(ANN, method, "units/kg", body, if_match='"9"').status == 412
        assert ask_as(ANN, method, "units/no", body, if_match="*").status == 404
    assert ask_as(ANN, "PATCH", "units/kg", {"name": "x"}, if_match="*").status == 200
    assert ask_as(ANN, "PUT", "units/kg", whole, if_match='"1", "2"').status == 200
    assert ask_as(ANN, "DELETE", "units/kg", if_match='"3"').status == 204


def test_a_create_with_a_key_happens_once(works: Workshop, ask_as: Ask) -> None:
    body = {"code": "A", "name": "lamp"}
    first = ask_as(ANN, "POST", "products", body, idempotency_key="k1")
    assert first.status == 201 and "idempotency-replayed" not in first.headers
    again = ask_as(ANN, "POST", "products", body, idempotency_key="k1")
    assert again.headers["idempotency-replayed"] == "true"
    for name in ("location", "etag", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert (again.status, again.body) == (201, first.body)
    other = ask_as(ANN, "POST", "products", {"code": "B"}, idempotency_key="k1")
    assert (other.status, other.json["code"]) == (422, "F623")
    assert ask_as(BOB, "POST", "products", body, idempotency_key="k1").status == 201
    assert works.sql("select tenant_id, code from products order by 1") == [
        (ANN.tenant, "A"),
        (BOB.tenant, "A"),
    ]


def test_a_refused_create_leaves_its_key_free(works: Workshop, ask_as: Ask) -> None:
    assert ask_as(ANN, "POST", "products", {}, idempotency_key="k").status == 422
    assert ask_as(ANN, "POST", "products", {"code": "A"}, idempotency_key="k").status == 201


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\xe9", "a\tb"])
def test_a_key_is_visible_ascii(ask_as: Ask, key: str) -> None:
    answer = ask_as(ANN, "POST", "products", {"code": "A"}, idempotency_key=key)
    assert answer.status == 400


def test_one_key_at_once_makes_one_row(works: Workshop, ask_as: Ask) -> None:
    answers: list[Answer] = []

    def create() -> None:
        answers.append(ask_as(ANN, "POST", "products", {"code": "A"}, idempotency_key="k"))

    assert together(*[create] * 6) == []
    assert {answer.status for answer in answers} <= {201, 409}
    assert works.one("select count(*) from products") == 1
    assert len({answer.body for answer in answers if answer.status == 201}) == 1


@pytest.mark.parametrize("query", ["include=friends", "limit=1"])
def test_a_permission_to_read_covers_lists(ask_as: Ask, query: str) -> None:
    assert ask_as(ANN, "GET", "people?" + query).status == 403
    assert ask_as(WRITER, "GET", "people?" + query).status == 200


def test_who_may_write_and_not_read_is_shown_key_and_version_only(
    works: Workshop, ask_as: Ask
) -> None:
    made = ask_as(WRITER, "POST", "people", {"name": "Eve"}).json
    editor = Identity(user="edith", roles=frozenset(["editor"]))
    assert ask_as(editor, "GET", f"people/{made['id']}").status == 403
    answer = ask_as(editor, "PATCH", f"people/{made['id']}", {"name": "Eva"})
    assert (answer.status, answer.json) == (200, {"id": made["id"], "version": 2})


def test_who_may_not_is_told_so_before_anything_else(works: Workshop, ask_as: Ask) -> None:
    stranger = Identity(user="sam")
    for method, path in (
        ("GET", "people?nope=1"),
        ("GET", "people/zzz"),
        ("POST", "people"),
        ("PATCH", "people/zzz"),
        ("PUT", "people/zzz"),
    ):
        assert ask_as(stranger, method, path).status == 403, (method, path)


def test_an_overridden_action_runs_once_in_a_request(works: Workshop) -> None:
    calls: list[object] = []

    class Careful(type(works["makers"])):  # type: ignore[misc]
        def update(self, id: Any, data: Any, **options: Any) -> Any:
            calls.append(data)
            raise StaleVersion("another request was faster")

    actions = Careful(works.database)
    actions.registry = works.registry
    api = ResourceAPI(actions, "/makers")
    router = Router()
    router.add("PATCH", "/makers/{id}", api.update)
    with as_identity(BOSS):
        answer = Client(Application(router))("PATCH", f"/makers/{ID}", {"name": "x"})
    assert answer.status in (409, 412) and calls == [{"name": "x"}]
