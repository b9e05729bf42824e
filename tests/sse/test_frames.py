"""Frames, read back by the algorithm of WHATWG HTML section 9.2.6."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from forge_min import sse
from forge_min.notify import Event, refresh_frame
from hypothesis import given
from hypothesis import strategies as st


def parse(stream: bytes) -> list[tuple[str, str, str]]:
    """(event, data, last id) of every event that a browser would dispatch."""
    events, name, data, last = [], "", [], ""
    text = stream.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    for line in text.split("\n"):
        if not line:
            if data:
                events.append((name or "message", "\n".join(data), last))
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id" and "\0" not in value:
            last = value
    return events


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(), values, max_size=4))
def test_any_json_object_comes_back_as_one_event(data: dict[str, Any]) -> None:
    found = parse(sse.frame("flight.updated", data, "7.9") + sse.frame("next", {}))
    assert [(name, last) for name, _, last in found] == [("flight.updated", "7.9"), ("next", "7.9")]
    assert json.loads(found[0][1]) == data


def test_hostile_text_cannot_leave_its_line() -> None:
    evil = "x\n\nevent: close\rdata: {}\r\n\u2028\u2029\0\ud800"
    frame = sse.frame("note", {"text": evil, evil: 1})
    assert frame.count(b"\n") == 3 and b"\r" not in frame and b"\0" not in frame
    assert [name for name, _, _ in parse(frame)] == ["note"]
    assert json.loads(parse(frame)[0][1])["text"] == evil


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b", "a\r\n\r\nb"])
def test_names_and_ids_with_line_breaks_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        sse.frame(text, {})
    with pytest.raises(ValueError):
        sse.frame("a", {}, text)
    with pytest.raises(ValueError):
        sse.encode_json(Event("flights", text))


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError):
        sse.frame("", {})
    with pytest.raises(ValueError):
        sse.frame("a", {"x": float("nan")})
    with pytest.raises(TypeError):
        sse.frame("a", {"x": uuid4()})


def test_refresh_and_close_have_the_contracts_words() -> None:
    refresh = b'event: refresh\ndata: {"reason":"overflow","missed":7}\n\n'
    assert refresh_frame("overflow", 7) == refresh
    refresh = b'event: refresh\ndata: {"reason":"resume","missed":null}\n\n'
    assert refresh_frame("resume") == refresh
    assert parse(sse.close_frame("shut\ndown")) == [("close", '{"reason":"shut\\ndown"}', "")]


def test_an_event_names_a_row_and_not_its_content() -> None:
    event = Event("flights", "flight.updated", "ab", 3, ("gate",), id=9, window=7)
    (found,) = parse(sse.encode_json(event))
    assert found == ("flight.updated", '{"id":"ab","version":3,"changed":["gate"]}', "7.9")
    own = Event("news", "news.flash", payload={"text": "a\nb"}, id=1, window=1)
    assert json.loads(parse(sse.encode_json(own))[0][1]) == {"payload": {"text": "a\nb"}}
