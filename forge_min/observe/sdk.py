"""OpenTelemetry's SDK: the providers, recorded spans, and a sampler that follows our decision."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Token
from typing import Any

from opentelemetry import context as otel
from opentelemetry import metrics, trace
from opentelemetry.context.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import Attributes as OtelAttributes

from .. import __version__
from .logs import format_traceback, redact_error
from .logs.redaction import message_of, name_of
from .otlp import BatchProcessor
from .recent_traces import RecentTraces, Tree
from .traceparent import SpanContext
from .tracing import Attributes, Kind, current, is_recorder, set_recorder

_LONGEST_STATE = 512  # characters (https://www.w3.org/TR/trace-context/#tracestate-limits)
_LONGEST = 2048  # characters of a span's attribute, and of an exception's message
_TRACE = 16_384  # characters of a stack trace, and of any attribute of an event
_READ = 65_536  # characters that are redacted: a message may hold all that a client has sent
_RECORD = otel.create_key("forge-record")  # in the context of a span that is to be recorded
# SAFETY: it logs each `tracestate` that is none, and a client writes those.
logging.getLogger(TraceState.__module__).setLevel(logging.ERROR)
_KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER,
}  # fmt: skip


class _DecidedSampler(Sampler):
    """Follows the decision of tracing.py, also for spans that other code starts by the API."""

    def __init__(self, ratio: float) -> None:
        self._ratio = TraceIdRatioBased(ratio)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: OtelAttributes = None,
        links: Sequence[trace.Link] | None = None,
        trace_state: trace.TraceState | None = None,
    ) -> SamplingResult:
        parent = trace.get_current_span(parent_context).get_span_context()
        ours = current.get()
        if otel.get_value(_RECORD, parent_context):
            sampled = True
        elif parent.is_valid:
            sampled = parent.trace_flags.sampled
        elif ours is not None:
            sampled = ours.sampled
        else:
            return self._ratio.should_sample(parent_context, trace_id, name, kind, attributes)
        decision = Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP
        return SamplingResult(decision, attributes, parent.trace_state)  # else the SDK loses it

    def get_description(self) -> str:
        return f"forge_min({self._ratio.get_description()})"


class RecordedSpan:
    """A span of the SDK and its place in the OpenTelemetry context."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.set_attribute, self.update_name = span.set_attribute, span.update_name
        ids = span.get_span_context()
        self.context = SpanContext(ids.trace_id, ids.span_id, True)
        # SAFETY: libraries record exceptions on the current span, and the SDK redacts nothing.
        span.record_exception = self.record  # type: ignore[method-assign]
        self._token: Token[Context] | None = otel.attach(trace.set_span_in_context(span))

    def fail(self, description: str) -> None:
        """Set the status to error."""
        self._span.set_status(StatusCode.ERROR, description or None)

    def record(
        self,
        exception: BaseException,
        attributes: OtelAttributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an exception as an event, redacted like in the log.

        Otherwise as the SDK's `record_exception`.
        """
        redacted = {
            "exception.type": name_of(exception),
            "exception.message": redact_error(message_of(exception)[:_READ], exception)[:_LONGEST],
            "exception.stacktrace": format_traceback(exception, most=_READ)[:_TRACE],
            "exception.escaped": str(escaped),
        }
        self._span.add_event("exception", {**redacted, **(attributes or {})}, timestamp)

    def leave(self) -> None:
        """Leave its OpenTelemetry context. Idempotent."""
        token, self._token = self._token, None
        if token is not None:
            # otel.detach() logs an error if another thread closes the body; this raises it.
            with suppress(ValueError):
                otel._RUNTIME_CONTEXT.detach(token)

    def end(self) -> None:
        """Leave its context and end it."""
        self.leave()
        self._span.end()


class Telemetry:
    """The providers of one process. `shutdown()` flushes and ends them; idempotent."""

    def __init__(
        self,
        tracer_provider: TracerProvider,
        meter_provider: MeterProvider,
        sample_ratio: float,
        recent: RecentTraces,
        batch: BatchProcessor | None,
    ) -> None:
        self.recent = recent
        self._batch = batch
        self.tracer_provider = tracer_provider
        self._tracer = tracer_provider.get_tracer("forge_min", __version__)
        self.meter_provider = meter_provider
        self.sample_ratio = sample_ratio
        self._open = True

    def trees(self) -> Sequence[Tree]:
        """The traces that ended last, the newest first."""
        return self.recent.trees()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Spans that nobody has got, by reason; empty without an exporter."""
        return self._batch.dropped if self._batch else {}

    def state(self) -> str:
        """The `tracestate` of the span that this thread is in; "" if it has none."""
        return trace.get_current_span().get_span_context().trace_state.to_header()

    def here(self) -> SpanContext | None:
        """The span of OpenTelemetry's API that this thread is in."""
        found = trace.get_current_span().get_span_context()
        if not found.is_valid:
            return None
        return SpanContext(found.trace_id, found.span_id, found.trace_flags.sampled)

    def record(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes | None,
        parent: SpanContext | None,
        remote: bool,
        links: Sequence[SpanContext],
        state: str,
    ) -> RecordedSpan:
        """Start a sampled span and enter its OpenTelemetry context.

        parent: None begins a new trace. remote: `parent` is a span of another process.
        """
        context = otel.set_value(_RECORD, True, Context())
        if parent is not None:
            above = trace.NonRecordingSpan(_above(parent, remote, state))
            context = trace.set_span_in_context(above, context)
        linked = [trace.Link(_named(link)) for link in links]
        return RecordedSpan(
            self._tracer.start_span(name, context, _KINDS[kind], attributes, linked)
        )

    def flush(self, timeout: float = 5.0) -> bool:
        """Export what has ended. timeout in seconds. False: the exporter did not finish in time."""
        return self.tracer_provider.force_flush(int(timeout * 1000))

    def shutdown(self) -> None:
        """Stop taking spans, export the rest, end the export thread."""
        if not self._open:
            return
        self._open = False
        if is_recorder(self):
            set_recorder(None)
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


def _above(parent: SpanContext, remote: bool, state: str) -> trace.SpanContext:
    """The parent, or the span of a library inside of it that this thread is in."""
    if not remote:
        here = trace.get_current_span().get_span_context()
        if here.trace_id == parent.trace_id:
            return here
    return _named(parent, remote, state)


def _named(place: SpanContext, remote: bool = True, state: str = "") -> trace.SpanContext:
    flags = TraceFlags(place.sampled)
    states = TraceState.from_header([state]) if 0 < len(state) <= _LONGEST_STATE else None
    return trace.SpanContext(place.trace_id, place.span_id, remote, flags, states)


def setup(
    service_name: str,
    *,
    sample_ratio: float = 1.0,
    exporter: SpanExporter | None = None,
    told: Callable[[Tree], object] | None = None,
    metric_readers: Sequence[MetricReader] = (),
) -> Telemetry:
    """Make tracer and meter providers and send every `span()` of this process to them.

    sample_ratio: share of new traces that are recorded, 0 to 1 (a caller's decision wins).
    exporter: gets the ended spans in batches, on the thread `otlp-export`; None: nobody gets them,
    unless a processor is added to `tracer_provider`. told: called with the tree of each trace that
    has ended here; the last 50 are `recent.trees()` of what is returned. metric_readers: of
    `meter_provider`, for instruments of your own and a registry that is `MeterBridge` there. The
    providers become the global ones of the OpenTelemetry API if no others were set before. Call it
    after a fork, never before. Raises ValueError for a ratio out of range.
    """
    if not 0.0 <= sample_ratio <= 1.0:
        raise ValueError(f"sample_ratio must lie between 0 and 1, not {sample_ratio}")
    resource = Resource.create({"service.name": service_name})
    tracers = TracerProvider(
        sampler=_DecidedSampler(sample_ratio),
        resource=resource,
        shutdown_on_exit=False,
        span_limits=_limits(),
    )
    recent, batch = RecentTraces(told), None if exporter is None else BatchProcessor(exporter)
    tracers.add_span_processor(recent)
    if batch is not None:
        tracers.add_span_processor(batch)
    meters = MeterProvider(metric_readers, resource=resource, shutdown_on_exit=False)
    _make_global(tracers, meters)
    telemetry = Telemetry(tracers, meters, sample_ratio, recent, batch)
    set_recorder(telemetry)
    return telemetry


def _limits() -> SpanLimits:
    """Lengths of attributes, unless OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT sets them. The SDK's default
    is no limit, and thousands of spans wait for a collector that is away.
    """
    limits = SpanLimits()
    if limits.max_span_attribute_length is None:
        limits = SpanLimits(max_attribute_length=_TRACE, max_span_attribute_length=_LONGEST)
    return limits


def _make_global(tracers: TracerProvider, meters: MeterProvider) -> None:
    providers: Any = trace  # the API has no public question "was one set?"
    if providers._TRACER_PROVIDER is None:
        trace.set_tracer_provider(tracers)
        metrics.set_meter_provider(meters)
