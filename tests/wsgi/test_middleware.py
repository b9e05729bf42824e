"""Other origins, compression and rate limits, around an application as a strict server calls it."""

from __future__ import annotations

import gzip
import io
import json
import sys
import time
from uuid import UUID
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from forge_min.auth import Identity, as_identity, current_identity
from forge_min.errors import NotFound, Unauthenticated
from forge_min.html import Brand, Layout, ProblemPages
from forge_min.wsgi import (
    CORS,
    CSRF,
    Application,
    Compress,
    Identify,
    RateLimits,
    Raw,
    Request,
    Response,
    Router,
    flash,
    flashed,
    json_only,
    json_response,
)
from forge_min.wsgi.middleware import limits
from forge_min.wsgi.middleware.cookies import cookie, cookies_of

ORIGIN = "https://shop.example"
LONG = {"rows": ["some text"] * 1000}


class Answer:
    """One answer. of(name): every value of a header, in order."""

    def __init__(self, app, method, path, environ):
        given = {"PATH_INFO": path, "REQUEST_METHOD": method, "QUERY_STRING": "", "SCRIPT_NAME": ""}
        given |= environ
        setup_testing_defaults(given)

        def start(status, headers, exc_info=None):
            self.status, self.headers = int(status[:3]), headers
            return lambda data: None

        body = validator(app)(given, start)
        self.body = b"".join(body)
        body.close()

    def of(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]


def made(**options):
    def missing(request):
        raise NotFound("no such row")

    same = json_response(LONG)
    handlers = {
        "/api/long": lambda request: same,  # the same object each time
        "/api/short": lambda request: json_response({"a": 1}),
        "/api/tagged": lambda request: json_response(LONG, headers=[("ETag", '"1"')]),
        "/api/png": lambda request: Response(200, b"x" * 5000, [("Content-Type", "image/png")]),
        "/api/stream": lambda request: Response(
            200, iter([b"x" * 5000]), [("Content-Type", "text/plain")]
        ),
        "/api/missing": missing,
        "/api/kept": lambda request: json_response(
            {}, headers=[("Cache-Control", "public, max-age=9")]
        ),
        "/page": lambda request: Response(200, b"hi", [("Content-Type", "text/plain")]),
    }
    router = Router()
    for path, handler in handlers.items():
        router.add("GET", path, handler)
    app = Application(router, **options)
    return lambda path, method="GET", **environ: Answer(app, method, path, environ)


# -- who asks --------------------------------------------------------------------------------------


def test_what_somebody_is_answered_is_kept_by_no_cache_on_the_way():
    def method(request):
        return Identity("anna") if request.header("Cookie") else None

    ask = made(middleware=[Identify([method], lambda request: None)])
    for path in ("/api/long", "/api/stream", "/api/missing"):
        assert ask(path, HTTP_COOKIE="a=b").of("Cache-Control") == ["private"]
        assert ask(path).of("Cache-Control") == []
    assert ask("/api/kept", HTTP_COOKIE="a=b").of("Cache-Control") == ["public, max-age=9"]


def test_what_a_tenant_is_told_names_the_headers_that_chose_it():
    def method(request):
        tenant = UUID(int=1) if request.header("X-Tenant-ID") else None
        return Identity("anna", tenant=tenant)

    ask = made(middleware=[Identify([method], lambda request: None, ["X-Tenant-ID"])])
    for path in ("/api/long", "/api/missing", "/api/kept"):
        assert ask(path, HTTP_X_TENANT_ID="a").of("Vary") == ["X-Tenant-ID, Authorization"]
        assert ask(path).of("Vary") == ["X-Tenant-ID"]
    plain = made(middleware=[Identify([method], lambda request: None)])
    assert plain("/api/long", HTTP_X_TENANT_ID="a").of("Vary") == ["Authorization"]
    assert plain("/api/long").of("Vary") == []


def test_a_problem_page_around_identify_knows_its_reader_and_says_once_what_it_depends_on():
    def method(request):
        if request.path == "/api/long":
            raise Unauthenticated("not believed")
        return Identity("anna")

    layout = Layout(Brand("shop"))
    layout.account = lambda request: Raw(f"reader:{current_identity().user}")
    identify = Identify([method], lambda request: None)
    ask = made(middleware=[identify], problem_page=ProblemPages(layout, "/api/v1"))
    assert ask("/api/missing").of("Vary") == ["Accept"]
    for path, reader in (("/api/missing", b"reader:anna"), ("/api/long", b"reader:")):
        page = ask(path, HTTP_ACCEPT="text/html")
        assert page.of("Vary") == ["Accept"] and page.of("Content-Type")[0].startswith("text/html")
        assert page.of("Cache-Control") == ["no-store"]
        assert reader in page.body and (b"anna" in page.body) == (reader == b"reader:anna")


# -- other origins ---------------------------------------------------------------------------------


def test_a_preflight_is_answered_before_anything_is_routed():
    ask = made(outer=[CORS([ORIGIN])])
    wanted = {"HTTP_ORIGIN": ORIGIN, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "DELETE"}
    answer = ask("/nowhere", "OPTIONS", **wanted)
    assert answer.status == 204 and answer.of("Access-Control-Allow-Origin") == [ORIGIN]
    assert "DELETE" in answer.of("Access-Control-Allow-Methods")[0]
    permitted = set(answer.of("Access-Control-Allow-Headers")[0].split(", "))
    assert {"If-Match", "Forge-Position", "Forge-Consistency"} <= permitted
    assert answer.of("Access-Control-Allow-Credentials") == []
    assert "Origin" in answer.of("Vary")


def test_every_answer_to_an_allowed_origin_says_so_an_error_too():
    ask = made(outer=[CORS([ORIGIN])])
    for path, status in (("/api/short", 200), ("/api/missing", 404), ("/nowhere", 404)):
        answer = ask(path, HTTP_ORIGIN=ORIGIN)
        assert answer.status == status and answer.of("Access-Control-Allow-Origin") == [ORIGIN]
        exposed = answer.of("Access-Control-Expose-Headers")[0].split(", ")
        assert {"ETag", "Forge-Position"} <= set(exposed)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ORIGIN + ".evil.example", ""])
def test_another_origin_gets_nothing(origin):
    ask = made(outer=[CORS([ORIGIN])])
    answer = ask("/api/short", HTTP_ORIGIN=origin)
    assert answer.of("Access-Control-Allow-Origin") == [] and answer.of("Vary") == ["Origin"]
    preflight = ask(
        "/api/short", "OPTIONS", HTTP_ORIGIN=origin, HTTP_ACCESS_CONTROL_REQUEST_METHOD="GET"
    )
    assert preflight.of("Access-Control-Allow-Origin") == []
    assert preflight.of("Access-Control-Allow-Methods") == []


def test_all_origins_are_one_and_the_same_answer():
    answer = made(outer=[CORS(["*"])])("/api/short", HTTP_ORIGIN="https://any.example")
    assert answer.of("Access-Control-Allow-Origin") == ["*"] and answer.of("Vary") == []


def test_an_answer_that_is_given_twice_is_marked_once():
    ask = made(outer=[CORS([ORIGIN]), Compress()])
    for _ in range(3):
        assert len(ask("/api/long", HTTP_ORIGIN=ORIGIN).of("Access-Control-Allow-Origin")) == 1


# -- compression -----------------------------------------------------------------------------------


def test_a_large_answer_is_compressed_for_whoever_takes_it():
    ask = made(outer=[Compress()])
    plain, small = ask("/api/long"), ask("/api/long", HTTP_ACCEPT_ENCODING="br, gzip")
    assert plain.of("Content-Encoding") == [] and json.loads(plain.body) == LONG
    assert small.of("Content-Encoding") == ["gzip"] and len(small.body) < len(plain.body) / 10
    assert json.loads(gzip.decompress(small.body)) == LONG
    assert small.of("Content-Length") == [str(len(small.body))]
    assert "Accept-Encoding" in plain.of("Vary") and "Accept-Encoding" in small.of("Vary")


@pytest.mark.parametrize("path", ["/api/short", "/api/tagged", "/api/png"])
def test_what_would_gain_nothing_or_has_a_tag_stays_as_it_is(path):
    answer = made(outer=[Compress()])(path, HTTP_ACCEPT_ENCODING="gzip")
    assert answer.of("Content-Encoding") == []


def test_a_streamed_text_is_compressed_too():
    ask = made(outer=[Compress()])
    plain, small = ask("/api/stream"), ask("/api/stream", HTTP_ACCEPT_ENCODING="gzip")
    assert plain.of("Content-Encoding") == [] and plain.body == b"x" * 5000
    assert small.of("Content-Encoding") == ["gzip"] and small.of("Content-Length") == []
    assert gzip.decompress(small.body) == plain.body and len(small.body) < 100
    assert plain.of("Vary") == small.of("Vary") == ["Accept-Encoding"]


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("gzip", True), ("GZIP", True), ("x-gzip", True), ("*", True), ("gzip;q=0.5", True),
        ("gzip; q=1.000", True), ("br, gzip ;q=0.1", True), ("", False), ("br", False),
        ("gzip;q=0", False), ("gzip;q=0.000", False), ("identity", False), ("*;q=0", False),
        ("gzip;q=0, *", False), ("gzipped", False),
    ],
)  # fmt: skip
def test_accept_encoding_is_read_as_rfc_9110_has_it(header, takes):
    answer = made(outer=[Compress()])("/api/long", HTTP_ACCEPT_ENCODING=header)
    assert answer.of("Content-Encoding") == (["gzip"] if takes else [])


@pytest.mark.parametrize("first", [900, 2000])
def test_only_the_first_kilobyte_of_an_accept_header_is_read(first):
    """An item that does not end within it is ignored, and so are those behind it."""
    router = Router()
    router.add("GET", "/api/rows", json_only(lambda request: json_response(LONG)))
    app = Application(router, outer=[Compress()])
    ignored = "x/" + "x" * (first - 2)
    headers = {"HTTP_ACCEPT": f"text/html,{ignored},application/json,{ignored}"}
    headers["HTTP_ACCEPT_ENCODING"] = f"br,{ignored},gzip,{ignored}"
    answer = Answer(app, "GET", "/api/rows", headers)
    is_read = first < 1024
    assert answer.status == (200 if is_read else 406)
    assert answer.of("Content-Encoding") == (["gzip"] if is_read else [])
    # A client whose header has nothing that can be read has no preference.
    assert Answer(app, "GET", "/api/rows", {"HTTP_ACCEPT": "x" * 15_000}).status == 200


# -- rate limits -----------------------------------------------------------------------------------


def limited(**limits):
    return made(middleware=[RateLimits(limits or {"default": (3, 60.0)}, "/api")])


def test_beyond_the_limit_an_answer_is_429_and_says_when_to_come_again():
    ask = limited()
    left = [ask("/api/short").of("RateLimit")[0] for _ in range(3)]
    assert [value.split(";")[1] for value in left] == ["r=2", "r=1", "r=0"]
    refused = ask("/api/missing")
    assert refused.status == 429 and json.loads(refused.body)["code"] == "F525"
    assert 1 <= int(refused.of("Retry-After")[0]) <= 20  # a third of the time, for one request
    assert refused.of("RateLimit-Policy") == ['"default";q=3;w=60']
    assert ask("/page").status == 200, "only what lies below the prefix is limited"


@pytest.mark.parametrize(("size", "remaining"), [(0, 9), (65535, 9), (65536, 8), (1 << 20, 0)])
def test_a_large_body_counts_as_several_requests_and_never_more_than_the_limit(size, remaining):
    ask = made(middleware=[RateLimits({"default": (10, 60.0)}, "/api")])
    body = {"CONTENT_LENGTH": str(size), "wsgi.input": io.BytesIO(bytes(size))}
    answer = ask("/api/short", **body)
    assert answer.status == 200 and f"r={remaining};" in answer.of("RateLimit")[0]


def test_threads_leave_the_interpreter_sooner_while_requests_are_refused(monkeypatch):
    """Other clients' responses wait for those of a client with many refused requests."""
    usual = limits._USUAL_INTERVAL
    sys.setswitchinterval(usual)
    ask = limited(default=(1, 60.0), session=(9, 60.0))
    monkeypatch.setattr(limits, "_HURRY", 0.2)
    try:
        statuses = [ask("/api/short").status for _ in range(2)]
        assert statuses == [200, 429] and sys.getswitchinterval() < usual
        with as_identity(Identity(user="u1")):
            assert ask("/api/short").status == 200 and sys.getswitchinterval() < usual
            time.sleep(0.3)
            assert ask("/api/short").status == 200 and sys.getswitchinterval() == usual
    finally:
        sys.setswitchinterval(usual)


def test_paths_and_what_lies_below_them_are_limited():
    ask = made(middleware=[RateLimits({"default": (1, 60.0)}, "/api", "/pag", "/page")])
    assert [ask("/page").status for _ in range(2)] == [200, 429]
    assert ask("/page/of/nothing").status == 429 and ask("/pages").status == 404


@pytest.mark.parametrize("secure", [False, True])
def test_no_script_reads_a_cookie_and_over_https_no_other_host_sets_it(secure):
    _, line = cookie("forge_session", "s", secure=secure)
    pair, *attributes = line.split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {*attributes}
    assert ("Secure" in attributes) is secure
    other = "forge_session" if secure else "__Host-forge_session"
    environ = {"HTTP_COOKIE": f"{other}=another; {pair}"}
    setup_testing_defaults(environ)
    assert cookies_of(Request(environ), secure=secure) == {"forge_session": "s"}


@pytest.mark.parametrize(
    ("altered", "shown"),
    [(lambda pair: pair, "Saved."), (lambda pair: pair.replace("Saved", "Click"), ""),
     (lambda pair: "forge_flash=Saved.", ""), (lambda pair: "forge_flash=\xe9.x", "")],
)  # fmt: skip
def test_the_message_after_a_form_is_shown_only_as_this_site_has_signed_it(altered, shown):
    router = Router()
    fields = [("Location", "/"), ("Content-Type", "text/plain")]
    router.add("POST", "/save", lambda request: flash(Response(303, b"", fields), "Saved."))
    router.add("GET", "/", lambda request: json_response(flashed(request)))
    app = Application(router, middleware=[CSRF(b"k" * 32, secure=False)])
    own = {"HTTP_SEC_FETCH_SITE": "same-origin", "wsgi.input": io.BytesIO(b"")}
    saved = Answer(app, "POST", "/save", own)
    assert saved.status == 303 and saved.of("Forge-Flash") == []
    (line,) = saved.of("Set-Cookie")
    page = Answer(app, "GET", "/", {"HTTP_COOKIE": altered(line.partition(";")[0])})
    assert json.loads(page.body) == shown


def test_a_message_may_follow_a_get_such_as_the_return_from_a_sign_in_elsewhere():
    router = Router()
    fields = [("Location", "/"), ("Content-Type", "text/plain")]
    router.add("GET", "/back", lambda request: flash(Response(303, b"", fields), "Welcome."))
    router.add("GET", "/", lambda request: json_response(flashed(request)))
    app = Application(router, middleware=[CSRF(b"k" * 32, secure=False)])
    back = Answer(app, "GET", "/back", {})
    assert back.of("Forge-Flash") == []
    (line,) = back.of("Set-Cookie")
    page = Answer(app, "GET", "/", {"HTTP_COOKIE": line.partition(";")[0]})
    assert json.loads(page.body) == "Welcome."


def test_callers_are_told_apart_by_address_and_by_who_they_are():
    ask = limited(default=(1, 60.0), session=(2, 60.0))
    asked = {"REMOTE_ADDR": "192.0.2.1"}
    assert [ask("/api/short", **asked).status for _ in range(2)] == [200, 429]
    assert ask("/api/short", REMOTE_ADDR="192.0.2.2").status == 200
    with as_identity(Identity("anna", via="session")):
        assert [ask("/api/short", **asked).status for _ in range(3)] == [200, 200, 429]
    with as_identity(Identity("berta")):  # as by a session
        assert ask("/api/short", **asked).status == 200
    with as_identity(Identity("192.0.2.1", via="other")):  # a kind without a limit of its own
        assert ask("/api/short", **asked).of("RateLimit-Policy") == ['"default";q=1;w=60']


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
    ],
)
def test_a_network_of_ipv6_is_one_place(first, second, same):
    ask = limited(default=(1, 60.0))
    assert ask("/api/short", REMOTE_ADDR=first).status == 200
    assert ask("/api/short", REMOTE_ADDR=second).status == (429 if same else 200)


def test_without_a_limit_for_anybody_nothing_is_limited():
    ask = made(middleware=[RateLimits({}, "/api")])
    assert {ask("/api/short").status for _ in range(50)} == {200}


# -- what the caller takes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("", True), ("*/*", True), ("application/json", True), ("application/*;q=0.1", True),
        ("text/html, application/json;q=0.9", True), ("APPLICATION/JSON; charset=utf-8", True),
        ("text/html", False), ("application/json;q=0", False), ("application/json;q=0, */*", False),
        ("*/*;q=0", False), ("text/csv, application/*;q=0.0, */*", False), ("json", False),
        ("text/html;level=1, */*; q=0.01", True),
    ],
)  # fmt: skip
def test_who_takes_no_json_gets_406_from_the_api(header, takes):
    router = Router()
    router.add("GET", "/api/rows", json_only(lambda request: json_response({"a": 1})))
    answer = Answer(Application(router), "GET", "/api/rows", {"HTTP_ACCEPT": header})
    assert answer.status == (200 if takes else 406)
    if not takes:
        assert json.loads(answer.body)["code"] == "F526"
