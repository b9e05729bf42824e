"""A request gives its parts when they are asked for, and refuses what cannot be read."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import pytest
from forge_min.errors import BadRequest
from forge_min.wsgi import HTTPProblem, Request
from forge_min.wsgi.request import FORM
from hypothesis import given
from hypothesis import strategies as st


def request(body=b"", kind="application/json", **extra):
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/p", "wsgi.input": io.BytesIO(body)}
    environ |= {"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": kind}
    max_body = extra.pop("max_body", 1 << 20)
    return Request({**environ, **extra}, "id-1", max_body)


def test_query_pairs_are_decoded_in_order():
    asked = request(QUERY_STRING="a=1&b=%C3%A4+x&a=2&c=")
    assert asked.query == {"a": ["1", "2"], "b": ["\xe4 x"], "c": [""]}
    assert request().query == {}


@pytest.mark.parametrize(
    ("line", "why"),
    [("a=%ff", "it is not UTF-8"), ("&".join(["a=1"] * 1001), "it has more than 1000 fields")],
)
def test_a_query_that_cannot_be_read_is_a_bad_request(line, why):
    with pytest.raises(BadRequest) as caught:
        _ = request(QUERY_STRING=line).query
    assert str(caught.value) == "the query or the form cannot be read: " + why


def test_headers_are_found_without_case():
    asked = request(HTTP_X_Y="z")
    assert asked.header("x-Y") == "z"
    assert asked.header("content-type") == "application/json"
    assert asked.header("Content-Length") == "0"
    assert asked.header("nope") is None


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "a/b+json"]
)
def test_json_is_read(kind):
    assert request('{"a": [1, "ä"]}'.encode(), kind).json() == {"a": [1, "ä"]}


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "a/json"])
def test_json_of_another_type_is_415(kind):
    with pytest.raises(HTTPProblem) as caught:
        request(b"{}", kind).json()
    assert caught.value.status == 415


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a":}', b"NaN", b"[Infinity]", b"\xff", b"[" * 100_000, b"1" * 5000, b'"\n"']
    + [b"1e999999999999999999999", b'{"a":[-1.5E+99999999999999999999]}']
    + ['{"a":1}'.encode("utf-16"), b"\xef\xbb\xbf{}", b"{} x"],
)
def test_malformed_json_is_a_bad_request(body):
    with pytest.raises(BadRequest, match="malformed JSON"):
        request(body).json()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[" * 200_000, "it is nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number has too many digits"),
        (b'{"a": "\xff"}', "it is not UTF-8"),
        (b"[-Infinity]", "-Infinity is not a number in JSON"),
        (b"1e999999999999999999999", "1e999999999999999999999 is out of range"),
        (b"[1 2]", "line 1 column 4"),
    ],
)
def test_what_is_wrong_with_a_body_is_said_in_our_own_words(body, why):
    with pytest.raises(BadRequest) as caught:
        request(body).json()
    assert str(caught.value) == "malformed JSON: " + why


def test_the_place_of_malformed_json_is_told():
    with pytest.raises(BadRequest, match="line 2 column 6"):
        request(b'{\n"a": x}').json()


def test_a_form_is_read():
    asked = request(b"a=1&a=2&b=x+%26", "application/x-www-form-urlencoded; charset=utf-8")
    assert asked.form() == {"a": ["1", "2"], "b": ["x &"]}


def test_a_form_that_cannot_be_read_is_refused():
    with pytest.raises(BadRequest, match="it is not ASCII"):
        request(b"a=\xff", "application/x-www-form-urlencoded").form()
    with pytest.raises(HTTPProblem) as caught:
        request(b"a=1", "multipart/form-data; boundary=x").form()
    assert caught.value.status == 415


def test_a_compressed_form_is_refused():
    form = request(b"a=1", "application/x-www-form-urlencoded", HTTP_CONTENT_ENCODING="gzip")
    with pytest.raises(HTTPProblem) as caught:
        form.form()
    assert caught.value.status == 415


def test_a_body_is_read_once_and_capped():
    asked = request(b"abc", max_body=3)
    assert asked.body == asked.body == b"abc"
    with pytest.raises(HTTPProblem) as caught:
        _ = request(b"abcd", max_body=3).body
    assert caught.value.status == 413


class Dripping(io.BytesIO):
    """An input that gives a few bytes at a time, as a server's may."""

    def read(self, size=-1, /):
        return super().read(min(size, 3))


def test_a_slow_body_holds_up_no_other_request():
    """A functools.cached_property of Python 3.11 has one lock for all requests."""

    class Slow(io.BytesIO):
        def read(self, size=-1, /):
            asked.set()
            assert ended.wait(10)
            return super().read(size)

    asked, ended = threading.Event(), threading.Event()
    slow = request(b"slow", **{"wsgi.input": Slow(b"slow")})
    other = request(b"quick", QUERY_STRING="a=b")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(lambda: slow.body)
        assert asked.wait(10)
        try:
            second = pool.submit(lambda: (other.body, other.query))
            assert second.result(5) == (b"quick", {"a": ["b"]})
        finally:
            ended.set()
        assert first.result(5) == b"slow"


def test_a_body_that_ends_before_its_length_is_none():
    cut = b"name=Anna&motto=half+of+wh"
    short = request(cut, FORM, CONTENT_LENGTH=str(len(cut) + 1))
    with pytest.raises(BadRequest, match="shorter than its Content-Length"):
        short.form()
    whole = request(b"", FORM, CONTENT_LENGTH=str(len(cut)), **{"wsgi.input": Dripping(cut)})
    assert whole.body == cut


def test_a_body_without_a_length_is_read_where_the_server_ends_it():
    extra = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    assert request(b"abc", **extra).body == b"abc"
    with pytest.raises(HTTPProblem):
        _ = request(b"abcd", max_body=3, **extra).body
    assert request(b"abc", CONTENT_LENGTH="").body == b""


@given(st.lists(st.sampled_from(["a", "b", "=", "&", "&&", "1", ";", "[", "%41", "+", "é"])))
def test_plain_pairs_are_read_as_the_standard_library_reads_them(pieces):
    line = "".join(pieces)
    expected = parse_qs(line, keep_blank_values=True)
    assert request(QUERY_STRING=line).query == expected
