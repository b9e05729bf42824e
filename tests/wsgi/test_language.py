"""An answer speaks the reader's language and shows times in the reader's zone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from forge_min.api.openapi import build_document, document_handlers
from forge_min.auth import Identity, as_identity
from forge_min.errors import NotFound
from forge_min.html.form import local_text, moment_of
from forge_min.i18n import current_language, text
from forge_min.testing import Client
from forge_min.wsgi import (
    Application,
    Raw,
    Request,
    Response,
    Router,
    StaticFiles,
    html_response,
    json_response,
)
from forge_min.wsgi.markup import set_default_zone, show_time, time_tag

from catalogues import catalogues


def missing(request: Request) -> Response:
    raise NotFound(text("there is none"))


EMPTY: dict[str, Any] = {"paths": {}, "components": {"schemas": {}}}
_, DOCS = document_handlers(build_document(EMPTY, [], title="Shop", version="1", prefix=""))
HANDLERS: dict[str, Callable[[Request], Response]] = {
    "/missing": missing,
    "/html": lambda request: html_response(text("hello")),
    "/json": lambda request: json_response({"said": text("hello")}),
    "/own": lambda request: html_response("x", headers=[("Content-Language", "fr")]),
    "/docs": DOCS,
    "/defect": lambda request: 1 / 0,  # type: ignore[dict-item,return-value]
}


def ask(path: str, accepted: str | None = None, *middleware: Any) -> tuple[str, dict[str, str]]:
    """(body, headers); a header that comes twice is joined."""
    router = Router()
    for pattern, handler in HANDLERS.items():
        router.add("GET", pattern, handler)
    environ: dict[str, Any] = {"PATH_INFO": path}
    if accepted is not None:
        environ["HTTP_ACCEPT_LANGUAGE"] = accepted
    setup_testing_defaults(environ)
    headers: dict[str, str] = {}

    def start(status: str, pairs: list[tuple[str, str]], exc_info: object = None) -> Any:
        for name, value in pairs:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value

    body = b"".join(Application(router, middleware=middleware)(environ, start))
    assert current_language() == ""
    return body.decode(), headers


def somebody(language: str) -> Any:
    def middleware(request: Request, handler: Any) -> Any:
        with as_identity(Identity("ann", language=language)):
            return handler(request)

    return middleware


@pytest.fixture
def german(tmp_path: Path) -> Iterator[None]:
    words = {"hello": "hallo", "there is none": "gibt es nicht", "Not Found": "Nicht gefunden"}
    with catalogues(tmp_path, {"de": words}):
        yield


@pytest.mark.parametrize(
    ("path", "method", "body", "wanted"),
    [
        ("/nowhere", "GET", b"", "nichts hier"),
        ("/html", "PUT", b"", "hier geht GET, HEAD, OPTIONS"),
        ("/body", "POST", b"{", "kein JSON"),
        ("/text", "POST", b"{}", "bitte application/json"),
        ("/html?a=%ff", "GET", b"", "unlesbar"),
        ("/%FF", "GET", b"", "kein UTF-8"),
        ("/body", "POST", b"x" * 50, "hoechstens 9 Bytes"),
        ("/static/none", "GET", b"", "keine Datei"),
    ],
)
def test_what_the_router_and_the_request_refuse_is_said_in_the_readers_language(
    tmp_path: Path, path: str, method: str, body: bytes, wanted: str
) -> None:
    words = {
        "nothing is at this address": "nichts hier",
        "this path supports {methods}": "hier geht {methods}",
        "malformed JSON: {why}": "kein JSON",
        "send {type}": "bitte {type}",
        "the query or the form cannot be read: {why}": "unlesbar",
        "the path is not UTF-8": "kein UTF-8",
        "the body has more than {max} bytes": "hoechstens {max} Bytes",
        "the file was not found": "keine Datei",
    }
    router = Router()
    router.add("GET", "/html", lambda request: json_response(request.query))
    for place in ("/body", "/text"):
        router.add("POST", place, lambda request: json_response(request.json()))
    router.add("GET", "/static/{path...}", StaticFiles(tmp_path))
    kind = {} if path == "/text" else {"Content-Type": "application/json"}
    with catalogues(tmp_path, {"de": words}):
        client = Client(Application(router, max_body=9))
        answer = client.request(
            method, path, body=body, headers={"Accept-Language": "de-AT", **kind}
        )
    assert 400 <= answer.status < 500 and answer.json["detail"] == wanted
    assert answer.headers["Content-Language"] == "de"


def test_without_catalogues_nothing_is_said_of_languages() -> None:
    for path in ("/html", "/missing"):
        body, headers = ask(path, "de")
        assert "Vary" not in headers and "Content-Language" not in headers
        assert "hallo" not in body


def test_the_language_that_is_asked_for_is_spoken_and_named(german: None) -> None:
    body, headers = ask("/html", "de-AT, en;q=0.5")
    assert (body, headers["Content-Language"], headers["Vary"]) == (
        "hallo",
        "de",
        "Accept-Language",
    )
    body, headers = ask("/missing", "de")
    problem = json.loads(body)
    assert (problem["title"], problem["detail"]) == ("Nicht gefunden", "gibt es nicht")
    assert (headers["Content-Language"], headers["Vary"]) == ("de", "Accept-Language")


@pytest.mark.parametrize("accepted", [None, "", "en", "fr", "\xff;;", "de;q=0"])
def test_english_is_spoken_otherwise_and_needs_no_name(accepted: str | None, german: None) -> None:
    for path, wanted in (("/html", "hello"), ("/missing", "there is none")):
        body, headers = ask(path, accepted)
        assert wanted in body and headers["Vary"] == "Accept-Language"
        assert "Content-Language" not in headers


def test_the_identity_s_language_goes_before_the_header_s(german: None) -> None:
    body, headers = ask("/html", "en", somebody("de"))
    assert (body, headers["Content-Language"]) == ("hallo", "de")
    body, headers = ask("/html", "de", somebody("en"))
    assert body == "hello" and "Content-Language" not in headers
    assert ask("/html", "de", somebody(""))[0] == "hallo"
    with as_identity(Identity("ann", language="de")):
        assert ask("/missing", "en")[1]["Content-Language"] == "de"


def test_a_handler_may_name_its_own_language_and_data_has_none(german: None) -> None:
    assert ask("/own", "de")[1]["Content-Language"] == "fr"
    assert ask("/docs", "de")[1]["Content-Language"] == "en"
    body, headers = ask("/json", "de")
    assert json.loads(body) == {"said": "hallo"}
    assert "Content-Language" not in headers and "Vary" not in headers


def test_labels_and_helps_of_the_contract_are_in_the_readers_language(tmp_path: Path) -> None:
    gate = {"type": "string", "title": "Gate", "description": "Where it leaves (not for everybody)"}
    code = {"type": "string", "title": "Code", "default": "Gate", "enum": ["Gate"]}
    generated = {
        "paths": {},
        "components": {"schemas": {"Flight": {"properties": {"title": gate}}}},
    }
    generated["components"]["schemas"]["Other"] = {"properties": {"description": code}}
    contract, _ = document_handlers(
        build_document(generated, [], title="Shop", version="1", prefix="")
    )
    words = {"Gate": "Flugsteig", "Where it leaves": "Wo er abfliegt"}
    words |= {"(not for everybody)": "(nicht für alle)"}
    router = Router()
    router.add("GET", "/openapi.json", contract)
    client = Client(Application(router))
    with catalogues(tmp_path, {"de": words, "fr": {}}):
        for asked, title, description in (
            ("de-AT", "Flugsteig", "Wo er abfliegt (nicht für alle)"),
            ("fr", "Gate", gate["description"]),
            ("en", "Gate", gate["description"]),
        ):
            answer = client.get("/openapi.json", headers={"Accept-Language": asked})
            schemas = answer.json["components"]["schemas"]
            told = schemas["Flight"]["properties"]["title"]
            assert (told["title"], told["description"]) == (title, description)
            assert schemas["Other"]["properties"]["description"] == code
            assert answer.headers["Content-Language"] == asked[:2]
            assert answer.headers["Vary"] == "Accept-Language"
    assert "Vary" not in client.get("/openapi.json").headers


def test_refusals_of_middleware_and_router_are_translated_too(german: None) -> None:
    def refuse(request: Request, handler: Any) -> Any:
        raise NotFound(text("there is none"))

    assert json.loads(ask("/html", "de", refuse)[0])["detail"] == "gibt es nicht"
    assert json.loads(ask("/nowhere", "de")[0])["title"] == "Nicht gefunden"
    assert ask("/defect", "de")[1]["Content-Language"] == "de"


def test_an_answer_that_is_given_to_everybody_collects_no_headers(german: None) -> None:
    same = html_response("x")
    HANDLERS["/same"] = lambda request: same
    try:
        for _ in range(3):
            assert ask("/same", "de")[1]["Vary"] == "Accept-Language"
    finally:
        del HANDLERS["/same"]
    assert len(same.headers) == 1


# -- time zones ------------------------------------------------------------------------------------

MOMENT = datetime(2026, 7, 1, 22, 30, 5, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("UTC", "2026-07-01 22:30"),
        ("Europe/Berlin", "2026-07-02 00:30"),
        ("America/St_Johns", "2026-07-01 20:00"),
        ("Nowhere/Land", "2026-07-01 22:30"),
        ("Europe", "2026-07-01 22:30"),
        ("../../etc/passwd", "2026-07-01 22:30"),
        ("/etc/localtime", "2026-07-01 22:30"),
        ("a\x00b", "2026-07-01 22:30"),
        ("", "2026-07-01 22:30"),
    ],
)
def test_a_time_is_shown_in_the_zone_of_the_identity(zone: str, shown: str) -> None:
    with as_identity(Identity("ann", time_zone=zone)):
        assert show_time(MOMENT) == shown
    assert show_time(MOMENT) == "2026-07-01 22:30"


def test_without_a_zone_of_their_own_identities_have_that_of_the_project() -> None:
    set_default_zone("Europe/Berlin")
    try:
        assert show_time(MOMENT) == "2026-07-02 00:30"
        with as_identity(Identity("ann", time_zone="America/St_Johns")):
            assert show_time(MOMENT) == "2026-07-01 20:00"
    finally:
        set_default_zone("UTC")


def test_a_time_takes_another_form_and_none_is_nothing() -> None:
    assert show_time(MOMENT, "%H:%M:%S") == "22:30:05"
    assert show_time(None) == "" and time_tag(None) == ""


def test_a_year_has_four_digits_or_an_input_would_not_hold_it_and_send_it_back_empty() -> None:
    early = datetime(800, 12, 25, 9, 30, tzinfo=UTC)
    assert show_time(early) == "0800-12-25 09:30"
    assert show_time(early, "%%Y%Y%%") == "%Y0800%"
    assert local_text(early) == "0800-12-25T09:30"
    assert local_text(early.replace(second=7)) == "0800-12-25T09:30:07"
    assert moment_of(local_text(early)) == early
    assert "0800-12-25T09:30:00Z" in time_tag(early)


def test_the_ends_of_the_calendar_are_shown_as_stored() -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    for zone in ("America/New_York", "Asia/Tokyo"):
        with as_identity(Identity("ann", time_zone=zone)):
            assert show_time(first, "%m-%d") in ("01-01",)
            assert show_time(last, "%m-%d") in ("12-31",)


def test_a_time_tag_is_html_that_machines_read_in_utc() -> None:
    with as_identity(Identity("ann", time_zone="Europe/Berlin")):
        tag = time_tag(MOMENT, "<%H:%M>")
    assert isinstance(tag, Raw)
    assert tag == '<time datetime="2026-07-01T22:30:05Z">&lt;00:30&gt;</time>'
