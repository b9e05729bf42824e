"""The one file that knows the OpenTelemetry SDK: providers, recordings, our sampling as its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import Token
from typing import Any

from opentelemetry import context as otel
from opentelemetry import metrics, trace
from opentelemetry.context.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import Attributes as OtelAttributes

from .traceparent import SpanContext
from .tracing import Attributes, Kind, current, use_recorder, using_recorder

_DECIDED = SpanContext(0, 0, True)


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
        if parent.is_valid:
            sampled = parent.trace_flags.sampled
        elif ours is not None:
            sampled = ours.sampled
        else:
            return self._ratio.should_sample(parent_context, trace_id, name, kind, attributes)
        return SamplingResult(Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP, attributes)

    def get_description(self) -> str:
        return f"forge_min({self._ratio.get_description()})"


class _Recording:
    """One SDK span together with its place in the OpenTelemetry context."""

    __slots__ = ("_span", "_token", "context", "record", "set_attribute", "update_name")

    def __init__(self, span: trace.Span, token: Token[Context]) -> None:
        self._span = span
        self.set_attribute = span.set_attribute
        self.update_name = span.update_name
        self.record = span.record_exception
        self._token = token
        ids = span.get_span_context()
        self.context = SpanContext(ids.trace_id, ids.span_id, True)

    def fail(self, description: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, description or None))

    def end(self) -> None:
        self._span.end()
        try:
            # not otel.detach(): that logs an error where the body is closed by another thread
            otel._RUNTIME_CONTEXT.detach(self._token)
        except ValueError:
            pass


class Telemetry:
    """The providers of one process. `shutdown()` flushes and ends them; idempotent."""

    def __init__(
        self, tracer_provider: TracerProvider, meter_provider: MeterProvider, sample_ratio: float
    ) -> None:
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        self.sample_ratio = sample_ratio
        self._tracer = tracer_provider.get_tracer("forge_min")
        self._open = True

    def record(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes | None,
        parent: SpanContext | None,
        remote: bool,
        links: Sequence[SpanContext],
    ) -> _Recording:
        """Start a sampled span (see `tracing.Recorder`)."""
        before = current.set(_DECIDED)
        try:
            span = self._tracer.start_span(
                name,
                context=_parent_context(parent, remote),
                kind=SpanKind[kind.upper()],
                attributes=attributes,
                links=[trace.Link(_named(link)) for link in links],
            )
        finally:
            current.reset(before)
        return _Recording(span, otel.attach(trace.set_span_in_context(span)))

    def flush(self, timeout: float = 5.0) -> bool:
        """Export what has ended. timeout in seconds. False: the exporter did not finish in time."""
        return self.tracer_provider.force_flush(int(timeout * 1000))

    def shutdown(self) -> None:
        """Stop taking spans, export the rest, end the export thread."""
        if not self._open:
            return
        self._open = False
        if using_recorder(self):
            use_recorder(None)
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


def _parent_context(parent: SpanContext | None, remote: bool) -> Context | None:
    if parent is None:
        return Context()
    if not remote and trace.get_current_span().get_span_context().trace_id == parent.trace_id:
        # The OpenTelemetry context of this thread: ours, or a span that a library opened.
        return None
    ids = _named(parent, remote)
    return trace.set_span_in_context(NonRecordingSpan(ids), Context())


def _named(place: SpanContext, remote: bool = True) -> trace.SpanContext:
    return trace.SpanContext(
        place.trace_id, place.span_id, is_remote=remote, trace_flags=TraceFlags(place.sampled)
    )


def setup(
    service_name: str,
    *,
    sample_ratio: float = 1.0,
    exporter: SpanExporter | None = None,
    metric_readers: Sequence[MetricReader] = (),
) -> Telemetry:
    """Make tracer and meter providers and send every `span()` of this process to them.

    sample_ratio: share of new traces that are recorded, 0 to 1 (a caller's decision wins).
    exporter: gets the ended spans in batches, on a thread of the SDK; None: nobody gets them,
    unless a processor is added to `tracer_provider`. metric_readers: of `meter_provider`, for
    instruments of your own and a registry that is `Exposed` there. The providers become the global
    ones of the OpenTelemetry API if no others were set before. Call it after a fork, never before.
    Raises ValueError for a ratio out of range.
    """
    if not 0.0 <= sample_ratio <= 1.0:
        raise ValueError(f"sample_ratio must lie between 0 and 1, not {sample_ratio}")
    resource = Resource.create({"service.name": service_name})
    tracers = TracerProvider(
        sampler=_DecidedSampler(sample_ratio), resource=resource, shutdown_on_exit=False
    )
    if exporter is not None:
        tracers.add_span_processor(BatchSpanProcessor(exporter))
    meters = MeterProvider(metric_readers, resource=resource, shutdown_on_exit=False)
    _make_global(tracers, meters)
    telemetry = Telemetry(tracers, meters, sample_ratio)
    use_recorder(telemetry)
    return telemetry


def _make_global(tracers: TracerProvider, meters: MeterProvider) -> None:
    providers: Any = trace  # the API has no public question "was one set?"
    if providers._TRACER_PROVIDER is None:
        trace.set_tracer_provider(tracers)
        metrics.set_meter_provider(meters)
