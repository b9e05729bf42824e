"""The compiled requests and responses are those of the Python code that has all the rules.

Whatever that code refuses, they leave alone.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from forge_min import _fanout_py
from forge_min.wsgi import response
from forge_min.wsgi.http1 import response_head
from forge_min.wsgi.http1.reader import ExpectedBody, Phase, read_requests
from forge_min.wsgi.http1.refusal import ProtocolError
from forge_min.wsgi.http1.response_head import _date, checked_head
from hypothesis import given, settings
from hypothesis import strategies as st

PLAIN = (
    b"GET /a/b?c=%20d HTTP/1.1\r\nHost: example.org:8000\r\nUser-Agent: test/1.0 (x)\r\n"
    b'Accept:text/html, */*;q=0.8\t\r\nX-Cafe: \xe9\r\nCookie: a=b; c="d"\r\n\r\n'
)
PIECES = [
    b"GET", b"PO_ST", b" ", b"/", b"/a?b#c", b"/%41", b"*", b"?", b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"Host: a\r\n", b"hOST:b:80\r\n", b"Host: [::1]:80\r\n", b"Host:\r\n", b"A: b\r\n", b"a:c\r\n",
    b"Content-Length: 3\r\n", b"content-type:\t x \r\n", b"A_B: c\r\n", b": c\r\n", b" folded\r\n",
    b"A: \xff\r\n", b"A: \0\r\n", b"^: 1\r\n", b"~: 2\r\n", b"A : b\r\n", b"\r\n", b"\n", b"\r",
]  # fmt: skip
MOST = 1000  # bytes of a body
QUICK = settings(max_examples=200, deadline=None)
compiled = pytest.importorskip("forge_min._fanout", reason="the compiled core is not built")


def agree(data: bytes) -> bool:
    """Whether the compiled one takes a request; then it must make of it what the reference does."""
    base, left = {"REMOTE_ADDR": "1.2.3.4"}, bytearray(data)
    mine: dict[str, Any] | None = compiled.try_read_request(left, base, MOST)
    if mine is None:
        assert left == data
    else:
        rest = bytearray(data)
        wanted = by_rule(rest, base, MOST)
        assert isinstance(wanted, dict), data
        assert mine.pop("wsgi.input").read() == wanted.pop("wsgi.input").read()
        assert mine == wanted and left == rest, data
    assert base == {"REMOTE_ADDR": "1.2.3.4"}
    return mine is not None


def by_rule(data: bytearray, base: dict[str, Any], most: int) -> dict[str, Any] | Phase | None:
    """What the reference makes of the first request; None: refused."""
    try:
        requests = read_requests(data, base, most)
        arrived = next(requests)
        return next(requests) if isinstance(arrived, ExpectedBody) else arrived
    except ProtocolError:
        return None


def test_a_plain_head_is_taken_whatever_follows_it():
    for behind in (b"", PLAIN, b"\0", b"GET"):
        assert agree(PLAIN + behind)
    assert agree(b"OPTIONS / HTTP/1.1\r\nhost:a\r\n\r\n")


def test_a_plain_body_is_taken_with_its_head_up_to_the_limit():
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    for size in (0, 1, 9, 10, MOST):
        whole = head % size + b"x" * size
        assert agree(whole) and agree(whole + PLAIN)
        assert not size or not agree(whole[:-1])
    assert not agree(head % (MOST + 1) + b"x" * (MOST + 1))
    for length in (b"+1", b"01", b"1_0", b"0x1", b"", b"-1", b"1 1", b"1,1", b"9" * 30):
        assert not agree(head.replace(b"%d", length) + b"x" * 100)


def test_a_hostile_request_is_left_alone(hostile_request):
    agree(hostile_request[2])


def test_any_byte_anywhere_is_judged_the_same():
    taken = 0
    for at in range(len(PLAIN)):
        for byte in range(256):
            head = PLAIN[:at] + bytes([byte]) + PLAIN[at + 1 :]
            taken += agree(head)
        assert not agree(PLAIN[:at])
    assert taken > 10_000


@QUICK
@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_any_pieces_are_judged_the_same(pieces):
    agree(b"".join(pieces))
    agree(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(pieces) + b"\r\n")


def test_more_fields_than_it_looks_at_are_left_alone():
    for count in (1, 39, 40, 100):
        fields = b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(count))
        head = b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"
        assert agree(head) is (count < 40)


def test_a_thousand_names_are_remembered_and_no_more():
    for n in range(3000):
        assert agree(b"GET / HTTP/1.1\r\nHost: a\r\nX-N%d: 1\r\n\r\n" % n)


def test_the_twin_leaves_all_alone():
    data = bytearray(PLAIN)
    assert _fanout_py.try_read_request(data, {}, MOST) is None and data == PLAIN
    assert _fanout_py.try_format_head("200 OK", [("A", "b")], STATUSES, {"A": ""}) is None
    assert (
        _fanout_py.try_format_response((200, b"HTTP/1.1 200 OK\r\n", None, False), [b"a"]) is None
    )


def test_a_head_longer_than_a_request_line_is_left_alone():
    for size in (8189, 8190, 8191, 20000):
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
        head += b"x" * (size - len(head) - 4) + b"\r\n\r\n"
        assert agree(head) is (size <= 8190)


class Text(str):
    """A text of another class, which may say anything of itself."""


NAMES = ["A", "Content-Type", "content-length", "Date", "Connection", "a b", "", "Ä", "X-1"]
NAMES += [Text("A"), "Keep-Alive"]
VALUES: list[Any] = ["", "b", "12", "-1", "1\r\n2", "a\r", "a\n", "a\0", "é", "€", "007", "²"]
VALUES += ["a\tb", "\x01", "x" * 40 + "\x1f", "\x7f", "\x0b"]
VALUES += ["1" * 5000, "x" * 5000, Text("b"), Text("b\r\nA: c"), b"b", None, 1, "a\ud800"]
GOOD = ["200 OK", "204 No Content", "404 Not Found", "299 "]
WRONG: list[Any] = ["200", "100 Continue", "200 OK\r\n", "200 é", Text("200 OK"), b"200 OK", None]
PAIRS = st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES))
ODD = st.sampled_from([("A",), ("A", "b", "c"), ["A", "b"], "Ab", None, 1])
HEADERS = st.lists(PAIRS, max_size=6) | st.lists(PAIRS | ODD, max_size=3).map(tuple)
STATUSES = {"200 OK": (200, b"HTTP/1.1 200 OK\r\n")}


def judged(core: Any, status: Any, headers: Any) -> Any:
    """What `checked_head` says with this core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(response_head, "try_format_head", core.try_format_head)
        try:
            return checked_head(status, headers)
        except Exception as err:
            return type(err), str(err)


@QUICK
@given(st.sampled_from(GOOD + WRONG), HEADERS | st.lists(PAIRS | ODD, max_size=3))
def test_any_answer_is_written_or_refused_the_same(status, headers):
    wanted = judged(_fanout_py, status, headers)
    for _ in range(2):  # the second time each good name is known
        assert judged(compiled, status, headers) == wanted


def test_a_plain_answer_is_written_at_once():
    kinds = {"A": "", "Content-Length": "content-length", "Date": "date"}

    def lines(headers: Any, status: Any = "200 OK") -> Any:
        return compiled.try_format_head(status, headers, STATUSES, kinds)

    start = b"HTTP/1.1 200 OK\r\n"
    assert lines([("A", "e"), ("Content-Length", "5")]) == (200, start + b"A: e\r\n", 5, False)
    assert lines([]) == (200, start, None, False)
    # Beyond ASCII the core for every Python leaves it to the twin.
    assert lines([("A", "é")]) in ((200, start + b"A: \xe9\r\n", None, False), None)
    for odd in ([("A", 1)], [("A",)], (("A", "b"),), [["A", "b"]], [("A", "b\n")], [("A", "€")]):
        assert lines(odd) is None
    assert lines([("A", "a\tb")]) == (200, start + b"A: a\tb\r\n", None, False)
    for control in map(chr, (*range(9), *range(10, 32), 127)):  # RFC 9110 section 5.5
        assert lines([("A", f"{'x' * 40}{control}")]) is None
        assert judged(compiled, "200 OK", [("A", f"x{control}")])[0] is ValueError
    for odd in ([("B", "b")], [("Date", "b")], [(Text("A"), "b")], [("A", Text("b"))]):
        assert lines(odd) is None
    assert lines([("Content-Length", "5"), ("Content-Length", "5")]) is None
    assert lines([], "201 Created") is None and lines([], Text("200 OK")) is None
    assert lines([("A", "x" * 8000)] * 2) is None
    for size in range(8100, 8200):
        long = start + b"A: %b\r\n" % (b"x" * size)
        assert lines([("A", "x" * size)]) == (
            (200, long, None, False) if len(long) <= 8190 else None
        )


class Bytes(bytes):
    """Bytes of another class."""


BODIES: list[Any] = [b"", b"a", b"\0" * 3000, bytearray(b"a"), "a", None, Bytes(b"b")]


@QUICK
@given(
    st.sampled_from([200, 204, 304, 404]),
    st.none() | st.integers(0, 4),
    st.booleans(),
    st.lists(st.sampled_from(BODIES), max_size=4),
)
def test_a_whole_answer_is_its_head_its_date_its_length_and_its_body(status, length, dated, body):
    lines = b"HTTP/1.1 200 OK\r\nA: b\r\n"
    before = int(time.time() - 0.1)  # time(2) may be some milliseconds behind
    made = compiled.try_format_response((status, lines, length, dated), body)
    plain = all(type(piece) is bytes for piece in body)
    size = len(b"".join(body)) if plain else 0
    if dated or status in (204, 304) or not size or length not in (None, size):
        assert made is None
        return
    end = b"Content-Length: %d\r\n\r\n%b" % (size, b"".join(body))
    dates = {_date(second) for second in range(before, int(time.time()) + 1)}
    assert made in {lines + date + end for date in dates}


def test_a_whole_answer_is_made_of_a_head_only():
    for odd in ((), (200,), None, 1):
        with pytest.raises((TypeError, ValueError)):
            compiled.try_format_response(odd, [b"a"])
    for lines in ("a", None, bytearray(b"a")):
        assert compiled.try_format_response((200, lines, None, False), [b"a"]) is None


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.integers(-(2**63), 2**64) | st.floats()
    | st.text() | st.text(st.characters(max_codepoint=127)) | st.decimals(allow_nan=False)
    | st.uuids() | st.datetimes()
)  # fmt: skip
KEYS = st.text() | st.integers() | st.none()
VALUES_OF_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner)
)


def as_json(core: Any, value: object) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(response, "try_encode_json", core.try_encode_json)
        try:
            return response.to_json(value)
        except Exception as err:
            return type(err)


@settings(deadline=None)
@given(VALUES_OF_JSON)
def test_any_value_is_the_same_json(value):
    assert as_json(compiled, value) == as_json(_fanout_py, value)


def test_what_json_has_to_look_at_is_left_to_it():
    class Words(str):
        """Not plain."""

    for value in (float("nan"), {1: 2}, Words("a"), {"a": Words("b")}, 2**63, {1}, object()):
        assert compiled.try_encode_json(value) is None
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    assert compiled.try_encode_json(deep) == b"[" * 50 + b"1" + b"]" * 50
    assert compiled.try_encode_json([deep]) is None
    circle: list[Any] = []
    circle.append(circle)
    assert as_json(compiled, circle) is as_json(_fanout_py, circle) is ValueError
    assert as_json(compiled, "\ud800") is as_json(_fanout_py, "\ud800") is UnicodeEncodeError
    every = "".join(map(chr, (*range(300), 0x2028, 0x10FFFF)))
    assert as_json(compiled, {every: [every]}) == as_json(_fanout_py, {every: [every]})
