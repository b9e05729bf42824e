"""The compiled heads and bodies: what they take is what the Python that knows all the rules makes
of it, and whatever that refuses they leave alone.
"""

from __future__ import annotations

from typing import Any

import pytest
from forge_min import _fanout_py
from forge_min.wsgi import response
from forge_min.wsgi.message import answer
from forge_min.wsgi.message.answer import checked_head
from forge_min.wsgi.message.head import parse_head
from forge_min.wsgi.message.refusal import Refused
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
QUICK = settings(max_examples=200, deadline=None)
compiled = pytest.importorskip("forge_min._fanout", reason="the compiled core is not built")


def agree(head: bytes, behind: bytes = b"") -> bool:
    """Whether the compiled one takes a head; then it must make of it what the reference does."""
    base = {"REMOTE_ADDR": "1.2.3.4"}
    mine: dict[str, Any] = dict(base)
    wanted: Any = dict(base)
    taken: bool = compiled.plain_head(bytearray(head + behind), len(head), mine)
    try:
        parse_head(head, wanted)
    except Refused as err:
        wanted = err.status
    assert mine == (wanted if taken else base), head
    return taken


def test_a_plain_head_is_taken_whatever_follows_it():
    for behind in (b"", PLAIN, b"\0", b"GET"):
        assert agree(PLAIN, behind)
    assert agree(b"OPTIONS / HTTP/1.1\r\nhost:a\r\n\r\n")


def test_a_hostile_request_is_left_alone(hostile_request):
    _, _, raw = hostile_request
    end = raw.find(b"\r\n\r\n") + 4
    head = raw[:end] if end >= 4 else raw
    agree(head, raw[len(head) :])


def test_any_byte_anywhere_is_judged_the_same():
    taken = 0
    for at in range(len(PLAIN)):
        for byte in range(256):
            head = PLAIN[:at] + bytes([byte]) + PLAIN[at + 1 :]
            end = head.find(b"\r\n\r\n") + 4
            if end >= 4:
                taken += agree(head[:end], head[end:])
            assert not compiled.plain_head(bytearray(PLAIN[:at]), at, {})
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
    environ: dict[str, Any] = {}
    assert not _fanout_py.plain_head(bytearray(PLAIN), len(PLAIN), environ)
    assert environ == {}
    assert _fanout_py.plain_fields([("A", "b")], str.lower) is None


NAMES = ["A", "Content-Type", "content-length", "Date", "Connection", "a b", "", "Ä", "X-1"]
VALUES = ["", "b", "12", "-1", "1\r\n2", "a\0", "é", "€", "007", "x" * 5000]


@QUICK
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=6))
def test_any_answer_is_written_or_refused_the_same(headers):
    found = []
    for core in (compiled, _fanout_py):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(answer, "plain_fields", core.plain_fields)
            try:
                found.append(checked_head("200 OK", headers))
            except Exception as err:
                found.append((type(err), str(err)))
    assert found[0] == found[1]


def test_a_plain_answer_is_written_at_once():
    headers = [("A", "e"), ("Content-Length", "5")]
    assert compiled.plain_fields(headers, answer._kind) == (b"A: e\r\n", 5)
    # Beyond ASCII the core for every Python leaves it to the twin.
    assert compiled.plain_fields([("A", "\xe9")], answer._kind) in ((b"A: \xe9\r\n", None), None)
    for odd in ([("A", 1)], [("A",)], (("A", "b"),), [["A", "b"]], [("A", "b\n")], [("A", "€")]):
        assert compiled.plain_fields(odd, answer._kind) is None


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
        patch.setattr(response, "plain_json", core.plain_json)
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
        assert compiled.plain_json(value) is None
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    assert compiled.plain_json(deep) == b"[" * 50 + b"1" + b"]" * 50
    assert compiled.plain_json([deep]) is None
    circle: list[Any] = []
    circle.append(circle)
    assert as_json(compiled, circle) is as_json(_fanout_py, circle) is ValueError
    assert as_json(compiled, "\ud800") is as_json(_fanout_py, "\ud800") is UnicodeEncodeError
    every = "".join(map(chr, (*range(300), 0x2028, 0x10FFFF)))
    assert as_json(compiled, {every: [every]}) == as_json(_fanout_py, {every: [every]})
