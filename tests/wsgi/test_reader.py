"""The reader gives the same requests, or the same refusal, however the bytes are cut."""

from __future__ import annotations

import time
from typing import Any

import pytest
from forge_min.fanout import CHUNKED as IN_CHUNKS
from forge_min.wsgi.http1.reader import ExpectedBody, Phase, read_requests
from forge_min.wsgi.http1.refusal import ProtocolError
from forge_min.wsgi.http1.request_head import MAX_FIELDS, MAX_HEADERS, MAX_LINE
from hypothesis import given, settings
from hypothesis import strategies as st

GET = b"GET /a%20b?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = (
    b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"1\r\na\r\n00A;x=y\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n"
)


def read(parts: list[bytes], limit: int = 1 << 20) -> list[Any]:
    """Every request and the refusal that end a stream given in parts."""
    buffer = bytearray()
    requests = read_requests(buffer, {}, limit)
    out: list[Any] = []
    try:
        for part in parts:
            buffer += part
            while not isinstance(arrived := next(requests), Phase):
                if isinstance(arrived, dict):
                    arrived["wsgi.input"] = arrived["wsgi.input"].read()
                    out.append(arrived)
    except ProtocolError as err:
        out.append(err.status)
    return out


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def test_a_hostile_request_is_refused_the_same_byte_by_byte(hostile_request):
    _, status, raw = hostile_request
    assert read([raw])[-1] == status
    assert read(bytewise(raw)) == read([raw])


def test_good_requests_in_a_row_are_the_same_byte_by_byte():
    data = b"\r\n" + GET + POST + CHUNKED + GET
    whole = read([data])
    assert [e["PATH_INFO"] for e in whole] == ["/a b", "/p", "/c", "/a b"]
    assert [e["wsgi.input"] for e in whole] == [b"", b"abc", b"a0123456789", b""]
    assert read(bytewise(data)) == whole


def test_a_request_is_the_same_wherever_it_is_cut_in_two():
    for data in (GET, POST, CHUNKED):
        whole = read([data])
        for at in range(len(data)):
            assert read([data[:at], data[at:]]) == whole


PIECES = st.lists(
    st.sampled_from(
        [GET, POST, CHUNKED, b"\r\n", b"\n", b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b": ", b"0"]
        + [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"a" * 5000, b"\0", b" "]
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(PIECES, st.lists(st.integers(0, 20000), max_size=5))
@pytest.mark.thorough
def test_any_bytes_are_read_the_same_however_they_are_cut(pieces, cuts):
    data = b"".join(pieces)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[a:b] for a, b in zip(edges, edges[1:])]
    assert read(parts) == read([data]) == read(bytewise(data))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_requests_or_a_refusal_and_nothing_else(data):
    for item in read([data + b"\r\n\r\n"]):
        assert isinstance(item, dict) or 400 <= item < 600


def test_the_chunked_body_has_its_decoded_length_and_no_coding():
    (environ,) = read([CHUNKED])
    assert environ["CONTENT_LENGTH"] == "11"
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert "HTTP_TRAILER" not in environ


def test_names_become_cgi_names_and_repeated_fields_are_joined():
    raw = (
        b"GET / HTTP/1.1\r\nHOST: h:80\r\nx-a: 1 \t\r\nX-A:2\r\ncookie: a=b\r\nCookie: c=d\r\n"
        b"content-type: t/x\r\nEmpty:\r\n\r\n"
    )
    (environ,) = read([raw])
    assert environ["HTTP_HOST"] == "h:80"
    assert environ["HTTP_X_A"] == "1, 2"
    assert environ["HTTP_COOKIE"] == "a=b; c=d"
    assert environ["CONTENT_TYPE"] == "t/x"
    assert environ["HTTP_EMPTY"] == ""


def test_a_list_of_entity_tags_may_come_in_parts():
    raw = b'PUT / HTTP/1.1\r\nHost: a\r\nIf-Match: "1"\r\nIf-Match: "2"\r\n\r\n'
    (environ,) = read([raw])
    assert environ["HTTP_IF_MATCH"] == '"1", "2"'


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        ("/a/b?c=d?e", "/a/b", "c=d?e", "a"),
        ("/%E2%82%AC", "/\xe2\x82\xac", "", "a"),
        ("/a%2Fb%23", "/a/b#", "", "a"),
        ("http://b:81/x?y", "/x", "y", "b:81"),
        ("HTTPS://b", "/", "", "b"),
        ("http://[::1]?q", "/", "q", "[::1]"),
        ("//x/y", "//x/y", "", "a"),
    ],
)
def test_targets_are_split_and_decoded(target, path, query, host):
    (environ,) = read([f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()])
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)
    assert environ["HTTP_HOST"] == host


def test_limits_are_exact():
    line = b"GET /%s HTTP/1.1" % (b"a" * (MAX_LINE - 14))
    assert len(line) == MAX_LINE
    field = b"X: %s\r\n" % (b"a" * (MAX_HEADERS - len(b"Host: a\r\n") - 5))
    for data in (
        line + b"\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * (MAX_FIELDS - 1) + b"\r\n",
        line + b"\r\nHost: a\r\n" + field + b"\r\n",
    ):
        (environ,) = read([data])
        assert isinstance(environ, dict)
        assert read(bytewise(data)) == [environ]


def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not():
    def chunks(size: int) -> bytes:
        return CHUNKED.split(b"\r\n\r\n")[0] + b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
            size,
            b"x" * size,
        )

    assert read([chunks(10)], limit=10)[0]["wsgi.input"] == b"x" * 10
    assert read([chunks(11)], limit=10) == [413]
    assert read([POST], limit=3)[0]["wsgi.input"] == b"abc"
    assert read([POST], limit=2) == [413]


def test_phases_say_what_is_waited_for():
    buffer = bytearray()
    requests = read_requests(buffer, {}, 100)
    assert next(requests) is Phase.IDLE
    buffer += POST[:5]
    assert next(requests) is Phase.HEAD
    buffer += POST[5:-1]
    assert next(requests) == ExpectedBody(3, expects=False)
    assert next(requests) is Phase.BODY
    buffer += POST[-1:]
    assert isinstance(next(requests), dict)


def test_a_body_may_be_collected_by_the_caller():
    head, body = CHUNKED.split(b"\r\n\r\n", 1)
    buffer = bytearray(head + b"\r\n\r\n" + body)
    requests = read_requests(buffer, {}, 100)
    assert next(requests) == ExpectedBody(IN_CHUNKS, expects=False)
    assert buffer == body
    buffer.clear()
    environ = requests.send(b"collected")
    assert isinstance(environ, dict)
    assert environ["wsgi.input"].read() == b"collected"
    assert environ["CONTENT_LENGTH"] == "9"


def test_a_client_that_waits_to_send_its_body_is_waited_for_once():
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
    buffer = bytearray(head)
    requests = read_requests(buffer, {}, 100)
    assert [next(requests) for _ in range(2)] == [ExpectedBody(2, expects=True), Phase.BODY]
    assert read([head + b"a", b"b"])[0]["wsgi.input"] == b"ab"


def test_hostile_lengths_cost_linear_time():
    began = time.thread_time()
    for raw in (
        b"GET / HTTP/1.1\r\nHost: a\r\nX:" + b" " * 16000 + b"\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"a" * 16000 + b"!\r\n\r\n",
        b"GET /" + b"%41" * 2700 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"a" * 8000 + b"\r\n\r\n",
    ):
        read([raw])
    assert time.thread_time() - began < 1.0
