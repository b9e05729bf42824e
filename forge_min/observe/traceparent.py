"""Parse and format the W3C `traceparent` header.

Source: https://www.w3.org/TR/trace-context/ (sections 3.2 and 4.3).
"""

from __future__ import annotations

from random import getrandbits
from typing import NamedTuple

from ..lazy import lazy_pattern

_HEADER = lazy_pattern(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_new = tuple.__new__


class SpanContext(NamedTuple):
    """The identity of a span (W3C Trace Context).

    trace_id: 128 bits, not 0.
    span_id: 64 bits, not 0.
    sampled: whether the trace is recorded.
    """

    trace_id: int
    span_id: int
    sampled: bool


def parse_traceparent(header: str) -> SpanContext | None:
    """Return the context of a header, or None if the rules require that it is ignored.

    Strict: hex is lower-case, ids are not zero, version ff is rejected, and version 00 has nothing
    after the flags. Of later versions only the four known fields are read.
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
    """Return the header for an outgoing call: version 00, with flags 01 if sampled, else 00."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.sampled):02x}"


def new_root(sampled: bool) -> SpanContext:
    """Return the root of a new trace. Its ids are random, not secret (section 3.2.2.3)."""
    # PERF: SpanContext(...) without its Python-level __new__ (benchmarks/http, hello).
    return _new(SpanContext, (getrandbits(128) or 1, getrandbits(64) or 1, sampled))
