"""Spans of OpenTelemetry's SDK, with the sampling decision of tracing.py."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Token
from dataclasses import dataclass
from typing import Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import Attributes as OtelAttributes

from .. import __version__
from ..redaction import error_message, format_traceback, redact_error, type_name
from .otlp.batch import BatchProcessor
from .recent_traces import RecentTraces, Tree
from .tracing import Attributes, Kind, SpanContext, current, is_recorder, set_recorder

_LONGEST_STATE = 512  # characters (https://www.w3.org/TR/trace-context/#tracestate-limits)
_LONGEST = 2048  # characters of a span's attribute, and of an exception's message
_TRACE = 16_384  # characters of a stack trace, and of any attribute of an event
_READ = 65_536  # characters of a message that are redacted: it may hold a whole request
_RECORD = otel.create_key("forge-record")  # set in the context of a span to record
# SAFETY: it logs each invalid `tracestate`, and clients write those.
logging.getLogger(TraceState.__module__).setLevel(logging.ERROR)


class _DecidedSampler(ParentBased):
    """Follows the decision of tracing.py, also for spans that libraries start by the API.

    root: decides for traces that a library begins.
    """

    def should_sample(
        self, parent_context: Context | None, *args: Any, **options: Any
    ) -> SamplingResult:
        record = otel.get_value(_RECORD, parent_context)
        context = current.get()
        has_parent = trace.get_current_span(parent_context).get_span_context().is_valid
        if not record and (has_parent or context is None):
            return super().should_sample(parent_context, *args, **options)
        sampler = ALWAYS_OFF
        if record or (context and context.sampled):
            sampler = ALWAYS_ON
        return sampler.should_sample(parent_context, *args, **options)


class RecordedSpan:
    """A span of the SDK, attached to the OpenTelemetry context."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.set_attribute = span.set_attribute
        self.update_name = span.update_name
        ids = span.get_span_context()
        self.context = SpanContext(ids.trace_id, ids.span_id, True)
        # SAFETY: libraries record exceptions on the current span, and the SDK redacts nothing.
        span.record_exception = self.record_exception  # type: ignore[method-assign]
        self._token: Token[Context] | None = otel.attach(trace.set_span_in_context(span))

    def fail(self, description: str) -> None:
        """Set the status to error."""
        self._span.set_status(StatusCode.ERROR, description or None)

    def record_exception(
        self,
        exception: BaseException,
        attributes: OtelAttributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an exception as an event, redacted as in the log.

        Parameters as for the SDK's `record_exception`.
        """
        message = redact_error(error_message(exception)[:_READ], exception)
        fields = {
            "exception.type": type_name(exception),
            "exception.message": message[:_LONGEST],
            "exception.stacktrace": format_traceback(exception, most=_READ)[:_TRACE],
            "exception.escaped": str(escaped),
            **(attributes or {}),
        }
        self._span.add_event("exception", fields, timestamp)

    def leave(self) -> None:
        """Detach the span from the OpenTelemetry context. Idempotent."""
        token = self._token
        self._token = None
        if token is not None:
            # If another thread closes the body, otel.detach() logs an error and this raises it.
            with suppress(ValueError):
                otel._RUNTIME_CONTEXT.detach(token)

    def end(self) -> None:
        """Detach and end the span."""
        self.leave()
        self._span.end()
        # PERF: breaks the reference cycle of __init__, so that only reference counts free spans.
        vars(self._span).pop("record_exception", None)


@dataclass(eq=False)
class Telemetry:
    """The tracer provider of one process.

    dropped: spans that were not exported, by reason; empty without an exporter.
    """

    tracer_provider: TracerProvider
    sample_ratio: float
    recent: RecentTraces
    _batch: BatchProcessor | None

    def __post_init__(self) -> None:
        self._tracer = self.tracer_provider.get_tracer("forge_min", __version__)
        self.dropped: Mapping[str, int] = self._batch.dropped if self._batch else {}

    def state(self) -> str:
        """Return the `tracestate` of the current span, "" if it has none."""
        return trace.get_current_span().get_span_context().trace_state.to_header()

    def current_context(self) -> SpanContext | None:
        """Return the context of the current span of OpenTelemetry's API; None without one."""
        ids = trace.get_current_span().get_span_context()
        if not ids.is_valid:
            return None
        return SpanContext(ids.trace_id, ids.span_id, ids.trace_flags.sampled)

    def start_span(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes | None,
        parent: SpanContext | None,
        remote: bool,
        links: Sequence[SpanContext],
        state: str,
    ) -> RecordedSpan:
        """Start a sampled span and attach it to the OpenTelemetry context.

        parent: None starts a new trace.
        remote: whether `parent` is a span of another process.
        state: the `tracestate` of a remote parent.
        """
        context = otel.set_value(_RECORD, True, Context())
        if parent is not None:
            parent_span = trace.NonRecordingSpan(_parent_of(parent, remote, state))
            context = trace.set_span_in_context(parent_span, context)
        sdk_links = [trace.Link(_sdk_context(link)) for link in links]
        sdk_kind = SpanKind[kind.upper()]
        span = self._tracer.start_span(name, context, sdk_kind, attributes, sdk_links)
        return RecordedSpan(span)

    def stop_in_child(self) -> None:
        """Forget the parent's spans and export none. For a child after a fork."""
        self.recent.reset()
        if self._batch is not None:
            self._batch.stop_in_child()

    def shutdown(self) -> None:
        """Stop recording, export the ended spans, and end the export thread. Idempotent."""
        if is_recorder(self):
            set_recorder(None)
        self.tracer_provider.shutdown()


def _parent_of(parent: SpanContext, remote: bool, state: str) -> trace.SpanContext:
    """Return the SDK's context of `parent`, or of the current span of a library inside of it."""
    if not remote:
        active = trace.get_current_span().get_span_context()
        if active.trace_id == parent.trace_id:
            return active
    return _sdk_context(parent, remote, state)


def _sdk_context(context: SpanContext, remote: bool = True, state: str = "") -> trace.SpanContext:
    flags = TraceFlags(context.sampled)
    states = None
    if 0 < len(state) <= _LONGEST_STATE:
        states = TraceState.from_header([state])
    return trace.SpanContext(context.trace_id, context.span_id, remote, flags, states)


def setup(
    service_name: str,
    *,
    sample_ratio: float = 1.0,
    exporter: SpanExporter | None = None,
    on_trace: Callable[[Tree], object] | None = None,
) -> Telemetry:
    """Make a tracer provider, and record every `span()` of this process with it.

    It becomes the global one of the OpenTelemetry API, if none is set. Call it after a fork, never
    before. `recent.trees()` of the return value has the last 50 traces.

    service_name: the resource attribute `service.name`.
    sample_ratio: share of new traces that are recorded, 0 to 1, default 1. A sampling decision of
        the caller takes precedence.
    exporter: exports ended spans in batches, on the thread `otlp-export`. None exports no spans,
        unless a processor is added to `tracer_provider`.
    on_trace: called with the tree of each trace when its root has ended in this process.

    Raises ValueError for a ratio out of range.
    """
    if not 0.0 <= sample_ratio <= 1.0:
        raise ValueError(f"sample_ratio must be between 0 and 1, not {sample_ratio}")
    tracers = TracerProvider(
        sampler=_DecidedSampler(TraceIdRatioBased(sample_ratio)),
        resource=Resource.create({"service.name": service_name}),
        shutdown_on_exit=False,
        # The SDK has no default limits, and thousands of spans wait for an unreachable collector.
        span_limits=SpanLimits(max_attribute_length=_TRACE, max_span_attribute_length=_LONGEST),
    )
    recent = RecentTraces(on_trace)
    tracers.add_span_processor(recent)
    batch = None
    if exporter is not None:
        batch = BatchProcessor(exporter)
        tracers.add_span_processor(batch)
    providers = trace  # the API has no public test for a set provider
    if providers._TRACER_PROVIDER is None:
        trace.set_tracer_provider(tracers)
    telemetry = Telemetry(tracers, sample_ratio, recent, batch)
    set_recorder(telemetry)
    return telemetry
