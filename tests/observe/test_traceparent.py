"""The W3C header: every rule of it."""

from __future__ import annotations

import pytest
from forge_min.observe.tracing import (
    SpanContext,
    format_traceparent,
    new_root,
    parse_traceparent,
)
from hypothesis import given
from hypothesis import strategies as st

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_is_read_back(trace_id: int, span_id: int, sampled: bool) -> None:
    context = SpanContext(trace_id, span_id, sampled)
    assert parse_traceparent(format_traceparent(context)) == context


def test_the_example_of_the_specification_is_read() -> None:
    context = parse_traceparent(f"00-{TRACE}-{SPAN}-01")
    assert context == SpanContext(int(TRACE, 16), int(SPAN, 16), True)


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)]
)
def test_only_the_lowest_flag_says_sampled(flags: str, sampled: bool) -> None:
    context = parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}")
    assert context is not None and context.sampled is sampled


def test_a_later_version_may_have_more_behind_the_flags() -> None:
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01-what-comes")
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01")
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01.what") is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"00-{TRACE}-{SPAN}-01-extra",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"0٠-{TRACE}-{SPAN}-01",
    ],
)
def test_anything_else_is_ignored(header: str) -> None:
    assert parse_traceparent(header) is None


@given(st.text())
def test_no_text_makes_it_fail(header: str) -> None:
    parse_traceparent(header)


def test_new_traces_differ() -> None:
    assert len({new_root(False) for _ in range(1000)}) == 1000
