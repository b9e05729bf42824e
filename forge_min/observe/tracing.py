"""Spans: where in a trace this thread is. Decides sampling, and loads no SDK.

PERF: an SDK span costs 21 µs sampled and 10 µs with the SDK's own sampler off. So the decision is
made here, before the SDK is touched: what is not sampled costs one small object and two
context variable calls.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from random import random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from .traceparent import SpanContext, format_traceparent, new_root, parse_traceparent

if TYPE_CHECKING:
    from .sdk import RecordedSpan, Telemetry

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | bool | int | float
Attributes = Mapping[str, Value]

current: ContextVar[SpanContext | None] = ContextVar("forge_span_context", default=None)
_recorder: Telemetry | None = None


def set_recorder(recorder: Telemetry | None) -> None:
    """Give every span of this process to `recorder` (None: to nobody)."""
    global _recorder
    _recorder = recorder


# A child has neither the threads nor the connection of what its parent records with, and locks of
# that may be held: it records nothing until it calls `setup` itself.
os.register_at_fork(after_in_child=lambda: set_recorder(None))


def recording() -> bool:
    """Whether spans go anywhere at all."""
    return _recorder is not None


def is_recorder(recorder: Telemetry) -> bool:
    """Whether spans go to this recorder."""
    return _recorder is recorder


def recent_trees() -> Sequence[Any]:
    """The traces of this process that ended last, the newest first, as `recent.Tree`."""
    return () if _recorder is None else _recorder.trees()


def here() -> SpanContext | None:
    """The span this thread is in, be it one of OpenTelemetry's API with none of ours around it."""
    context = current.get()
    return _recorder.here() if context is None and _recorder is not None else context


def current_traceparent() -> str | None:
    """The W3C `traceparent` of the span this thread is in, sampled or not; None outside."""
    context = here()
    return None if context is None else format_traceparent(context)


def trace_headers() -> dict[str, str]:
    """The headers `traceparent` and `tracestate` that continue the trace that this thread is in; {}
    outside. A state is known where the trace is sampled.
    """
    context = here()
    if context is None:
        return {}
    found = {"traceparent": format_traceparent(context)}
    if context.sampled and _recorder is not None and (state := _recorder.state()):
        found["tracestate"] = state
    return found


class Span:
    """A span around a block: `with span("GET /flights/{id}", kind="server", parent=header) as s:`.

    parent: a W3C traceparent that came from outside. None: the span this thread is in, else a new
    trace. One that is not valid is ignored, as the W3C says: a new trace begins. Sampling is
    parent-based; a new trace is sampled with the ratio given to `setup`. links: traceparents of
    spans that it has to do with and is no child of. state: the `tracestate` that came with
    `parent`; what this thread asks of others by OpenTelemetry's propagators takes it along.

    A context manager, not shared between threads, entered once. Leaving it with an exception
    records that (once, however many spans it passes; again where the same one is raised later) and
    marks the span as failed.
    """

    # PERF: of the class, so that most spans need not set them (benchmarks/http, hello).
    _kind: Kind = "internal"
    _attributes: Attributes | None = None
    _parent: str | None = None
    _trusts_parent = True  # its sampling decision counts; else only its ids do
    _links: Sequence[str] = ()
    _token: Token[SpanContext | None] | None = None
    _recording: RecordedSpan | None = None
    _context: SpanContext | None = None
    _above: int | None = None  # the id of the span that an exception comes to next

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
        """Whether attributes go anywhere: ask before computing costly ones."""
        return self._recording is not None

    @property
    def traceparent(self) -> str | None:
        """The W3C header that names this span as the parent; None before it is entered."""
        return None if self._context is None else format_traceparent(self._context)

    def set_attribute(self, key: str, value: Value) -> None:
        """Set one attribute (OpenTelemetry semantic conventions give the names)."""
        if self._recording is not None:
            self._recording.set_attribute(key, value)

    def update_name(self, name: str) -> None:
        """Name it anew, e.g. when the route is known. Low cardinality: patterns, never values."""
        if self._recording is not None:
            self._recording.update_name(name)

    def fail(self, description: str = "") -> None:
        """Mark it as failed without an exception, e.g. for a status of 500 and above."""
        if self._recording is not None:
            self._recording.fail(description)

    def fail_with(self, error: Exception) -> None:
        """Mark it as failed by an exception that was answered inside of it; the exception is
        recorded, unless a span inside of this one has done so.
        """
        if self._recording is not None:
            _fail(self._recording, error, self._above)

    def __enter__(self) -> Span:
        self._begin()
        return self

    def _begin(self) -> None:
        given = self._parent
        remote = given is not None
        if given is None:
            parent = current.get() or here()
        else:
            parent = parse_traceparent(given) if given else None
        follows = parent is not None and self._trusts_parent
        if parent is not None and not follows:
            parent = parent._replace(sampled=False)  # for spans inside, and jobs
        recorder = _recorder
        if recorder is None:
            context = parent or new_root(False)
        elif parent.sampled if parent and follows else random() < recorder.sample_ratio:
            links = [found for found in map(parse_traceparent, self._links) if found]
            self._recording = recorder.record(
                self._name, self._kind, self._attributes, parent, remote, links, self._state
            )
            context = self._recording.context
        else:
            context = parent or new_root(False)
        self._context = context
        if parent is not None:
            self._above = parent.span_id
        self._token = current.set(context)

    def leave(self) -> None:
        """This thread goes on with something else; the span ends later, with `__exit__`. What
        belongs to it until then runs in a copy of the context of before. Idempotent.
        """
        token, self._token = self._token, None
        if token is None:
            return
        try:
            current.reset(token)
        except ValueError:  # left in another context than entered (a body closed by another thread)
            pass
        if self._recording is not None:
            self._recording.leave()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._token is not None:  # PERF: as `leave` does (benchmarks/http, hello)
            try:
                current.reset(self._token)
            except ValueError:
                pass
            self._token = None
        if self._recording is not None:
            recording, self._recording = self._recording, None
            if isinstance(error, Exception):
                _fail(recording, error, self._above)
            recording.end()


def _fail(recording: RecordedSpan, error: Exception, above: int | None) -> None:
    recording.set_attribute("error.type", type(error).__qualname__)
    recording.fail(type(error).__qualname__)
    # SAFETY: what its own class raises here must not come in its place.
    with suppress(Exception):
        if isinstance(state := getattr(error, "sqlstate", None), str):
            recording.set_attribute("db.response.status_code", state)
    passed = None
    with suppress(Exception):
        passed = getattr(error, "_forge_passed_to", None)
    if passed != recording.context.span_id:
        recording.record(error)  # it comes from no span inside of this one
    with suppress(Exception):  # one without a __dict__, or frozen: recorded again
        error._forge_passed_to = above  # type: ignore[attr-defined]


span = Span
