"""The W3C `traceparent` header as text: parse and format, nothing else.

Source: https://www.w3.org/TR/trace-context/ (sections 3.2 and 4.3).
"""

from __future__ import annotations

from random import getrandbits
from typing import NamedTuple

from ..lazy import lazy_pattern

_HEADER = lazy_pattern(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_new = tuple.__new__


class SpanContext(NamedTuple):
    """A place in a trace. trace_id: 128 bits, span_id: 64 bits, neither is 0."""

    trace_id: int
    span_id: int
    sampled: bool


def parse_traceparent(header: str) -> SpanContext | None:
    """The context of a header, or None where the rules say that it must be ignored.

    Strict: lower-case hex, no zero ids, version ff refused, nothing behind the flags in version 00;
    of a later version only the four known fields are read.
    """
    match = _HEADER.fullmatch(header)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    context = SpanContext(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1))
    return context if context.trace_id and context.span_id else None


def format_traceparent(context: SpanContext) -> str:
    """The header for what is called next: version 00, flags 01 when sampled, else 00."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.sampled):02x}"


def new_root(sampled: bool) -> SpanContext:
    """A fresh trace. The ids are random, not secret (section 3.2.2.3)."""
    # PERF: as SpanContext(...), without Python code in between (benchmarks/http, hello).
    return _new(SpanContext, (getrandbits(128) or 1, getrandbits(64) or 1, sampled))
