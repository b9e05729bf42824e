"""Spans, the sampling decision, and the W3C `traceparent` header. Loads no SDK of OpenTelemetry.

PERF: an SDK span costs 21 µs when sampled, and 10 µs when the SDK's own sampler drops it. The
decision is therefore made here, before the SDK is used: an unsampled span costs one small object
and two context variable calls.

Source of the header: https://www.w3.org/TR/trace-context/ (sections 3.2 and 4.3).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from random import getrandbits, random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..lazy import lazy_pattern
from ..redaction import safe_attribute

if TYPE_CHECKING:
    from .sdk import RecordedSpan, Telemetry

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | bool | int | float
Attributes = Mapping[str, Value]

current: ContextVar[SpanContext | None] = ContextVar("forge_span_context", default=None)
_recorder: Telemetry | None = None


def set_recorder(recorder: Telemetry | None) -> None:
    """Record every span of this process with `recorder`; None records none."""
    global _recorder
    _recorder = recorder


def _after_fork() -> None:
    """Record nothing in a child until it calls `setup` itself.

    It has neither the threads nor the connection of its parent's recorder; the recorder's
    locks may be held.
    """
    if _recorder is not None:
        _recorder.stop_in_child()
        set_recorder(None)


os.register_at_fork(after_in_child=_after_fork)


def is_recording() -> bool:
    """Return whether any span of this process can be recorded."""
    return _recorder is not None


def is_recorder(recorder: Telemetry) -> bool:
    """Return whether `recorder` records the spans of this process."""
    return _recorder is recorder


def recent_trees() -> Sequence[Any]:
    """Return the traces of this process that ended last, newest first, as `recent_traces.Tree`."""
    if _recorder is None:
        return ()
    return _recorder.recent.trees()


def current_context() -> SpanContext | None:
    """Return the context of the current span, also of a span of OpenTelemetry's API."""
    context = current.get()
    if context is None and _recorder is not None:
        return _recorder.current_context()
    return context


def current_traceparent() -> str | None:
    """Return the W3C `traceparent` of the current span, sampled or not; None without a span."""
    return trace_headers().get("traceparent")


def trace_headers() -> dict[str, str]:
    """Return the headers that continue the current trace; {} without a span.

    They are `traceparent` and, if the trace is sampled and has one, `tracestate`.
    """
    context = current_context()
    if context is None:
        return {}
    headers = {"traceparent": format_traceparent(context)}
    if context.sampled and _recorder is not None:
        state = _recorder.state()
        if state:
            headers["tracestate"] = state
    return headers


class Span:
    """A span around a block: `with span("GET /flights/{id}", kind="server", parent=header) as s:`.

    A context manager that is entered once and not shared between threads. Sampling is parent-based;
    a new trace is sampled with the ratio given to `setup`. An exception that leaves the block is
    recorded and marks the span as failed. It is recorded once, even if it passes several spans, and
    again if the same exception is raised later.

    name: low cardinality; a pattern, not a value.
    kind: as in OpenTelemetry, default "internal".
    attributes: set when the span starts.
    parent: a W3C traceparent received from another process. None: the current span, or a new trace
        without one. An invalid traceparent starts a new trace, as the W3C requires.
    links: traceparents of related spans that are not the parent.
    state: the `tracestate` received with `parent`. Requests that this thread sends with
        OpenTelemetry's propagators include it.
    """

    # PERF: class attributes, so that most spans need not set them (benchmarks/http, hello).
    _kind: Kind = "internal"
    _attributes: Attributes | None = None
    _parent: str | None = None
    _trusts_parent = True  # follow its sampling decision; if false, use only its ids
    _links: Sequence[str] = ()
    _token: Token[SpanContext | None] | None = None
    _recording: RecordedSpan | None = None
    _context: SpanContext | None = None
    _parent_id: int | None = None  # the span that an exception reaches next

    def __init__(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        attributes: Attributes | None = None,
        parent: str | None = None,
        links: Sequence[str] = (),
        state: str = "",
    ) -> None:
        self._name = name
        self._state = state
        self._kind = kind
        self._attributes = attributes
        self._parent = parent
        self._links = links

    @property
    def recording(self) -> bool:
        """Whether attributes are recorded. Check it before computing costly ones."""
        return self._recording is not None

    @property
    def traceparent(self) -> str | None:
        """The W3C header with this span as the parent; None before the span is entered."""
        if self._context is None:
            return None
        return format_traceparent(self._context)

    def set_attribute(self, key: str, value: Value) -> None:
        """Set one attribute, named by OpenTelemetry's semantic conventions."""
        if self._recording is not None:
            self._recording.set_attribute(key, value)

    def update_name(self, name: str) -> None:
        """Rename the span, e.g. once the route is known. Use patterns, never values."""
        if self._recording is not None:
            self._recording.update_name(name)

    def fail(self, description: str = "") -> None:
        """Mark the span as failed without an exception, e.g. for a status of 500 or above."""
        if self._recording is not None:
            self._recording.fail(description)

    def fail_with(self, error: Exception) -> None:
        """Mark the span as failed by an exception that was handled inside of it.

        Records the exception, unless a span inside of this one has done so.
        """
        if self._recording is not None:
            _fail(self._recording, error, self._parent_id)

    def __enter__(self) -> Span:
        header = self._parent
        parent = None
        if header is None:
            parent = current.get() or current_context()
        elif header:
            parent = parse_traceparent(header)
        recorder = _recorder
        if parent is not None and self._trusts_parent:
            sampled = parent.sampled
        else:
            sampled = recorder is not None and random() < recorder.sample_ratio
            if parent is not None:
                parent = parent._replace(sampled=False)  # for inner spans and jobs
        if recorder is not None and sampled:
            links = [link for link in map(parse_traceparent, self._links) if link]
            remote = header is not None
            self._recording = recorder.start_span(
                self._name, self._kind, self._attributes, parent, remote, links, self._state
            )
            context = self._recording.context
        else:
            context = parent or new_root(False)
        self._context = context
        if parent is not None:
            self._parent_id = parent.span_id
        self._token = current.set(context)
        return self

    def leave(self) -> None:
        """Detach the span from this thread; `__exit__` ends it later. Idempotent.

        Work that belongs to the span until then runs in a copy of the earlier context.
        """
        token = self._token
        self._token = None
        if token is None:
            return
        with suppress(ValueError):  # entered in another context: another thread closes the body
            current.reset(token)
        if self._recording is not None:
            self._recording.leave()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._token is not None:  # PERF: `leave` inlined (benchmarks/http, hello)
            try:
                current.reset(self._token)
            except ValueError:
                pass
            self._token = None
        recording = self._recording
        if recording is not None:
            self._recording = None
            if isinstance(error, Exception):
                _fail(recording, error, self._parent_id)
            recording.end()


def _fail(recording: RecordedSpan, error: Exception, parent_id: int | None) -> None:
    kind = type(error).__qualname__
    recording.set_attribute("error.type", kind)
    recording.fail(kind)
    # SAFETY: an exception raised by the error's own class here must not replace it.
    state = safe_attribute(error, "sqlstate")
    if isinstance(state, str):
        recording.set_attribute("db.response.status_code", state)
    if safe_attribute(error, "_forge_passed_to") != recording.context.span_id:
        recording.record_exception(error)  # no span inside of this one has recorded it
    with suppress(Exception):  # an error without a __dict__, or frozen, is recorded again
        error._forge_passed_to = parent_id  # type: ignore[attr-defined]


span = Span


# -- the header traceparent ------------------------------------------------------------------------


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
    version, trace_id, span_id, flags, extra = match.groups()
    if version == "ff" or (version == "00" and extra is not None):
        return None
    sampled = bool(int(flags, 16) & 1)
    context = SpanContext(int(trace_id, 16), int(span_id, 16), sampled)
    return context if context.trace_id and context.span_id else None


def format_traceparent(context: SpanContext) -> str:
    """Return the header for an outgoing call: version 00, with flags 01 if sampled, else 00."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.sampled):02x}"


def new_root(sampled: bool) -> SpanContext:
    """Return the root of a new trace. Its ids are random, not secret (section 3.2.2.3)."""
    # PERF: SpanContext(...) without its Python-level __new__ (benchmarks/http, hello).
    return _new(SpanContext, (getrandbits(128) or 1, getrandbits(64) or 1, sampled))
