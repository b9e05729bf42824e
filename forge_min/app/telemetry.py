"""Spans of requests and jobs, joined by the job's traceparent, and the metrics of metrics.toml."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .. import __version__, fanout, jobs, notify, observe
from ..config import Config
from ..errors import TooManyConnections, TooManyConnectionsForUser
from ..jobs import Job
from ..observe import current, is_recording, new_root
from ..resources import table
from ..wsgi import Request


def new_telemetry(config: Config, *, serving: bool) -> observe.Telemetry | None:
    """Return the SDK's providers, or None if no span is recorded.

    Spans are exported to observe.otlp_endpoint. In development each trace is printed as a tree on
    the console, unless the log is JSON. In production without an endpoint spans are recorded, for
    the admin server, only if observe.sample_ratio is set; trace ids are always propagated.

    serving: False for a process that only runs jobs; without an endpoint it records no spans.
    """
    settings = config.observe
    is_default = config.sources["observe.sample_ratio"] in ("default", "production")
    is_development = serving and config.env == "development"
    has_reader = settings.otlp_endpoint or is_development
    if not has_reader and (is_default or not serving):
        return None
    exporter = None
    if settings.otlp_endpoint:
        exporter = observe.new_exporter(settings.otlp_endpoint, headers=settings.otlp_headers)
    print_tree = None
    if is_development and observe.is_text(settings.log_format, sys.stderr):
        print_tree = partial(_print_tree, observe.line_writer(sys.stderr))
    return observe.setup(
        settings.service_name,
        sample_ratio=settings.sample_ratio,
        exporter=exporter,
        on_trace=print_tree,
    )


def _print_tree(lines: observe.LineWriter, tree: object) -> None:
    lines.put(f"{tree}\n")


class RequestSpan(observe.Span):
    """A server span by OpenTelemetry's stable HTTP conventions: the `instrument` of an Application.

    PERF: a class, because a generator's context manager costs as much as the router. It sets only
    the attributes in which it differs from most spans (benchmarks/http, hello).
    """

    _kind = "server"

    def __init__(self, request: Request) -> None:
        self._request = request

    def __enter__(self) -> Callable[[int], None] | None:  # type: ignore[override]
        environ = self._request.environ
        self._parent = environ.get("HTTP_TRACEPARENT", "")
        if not self._parent and not is_recording():
            self._context = new_root(False)
            self._token = current.set(self._context)
            return None
        # W3C Trace Context, 4.3 and 6.3: an untrusted client may name the trace, but not decide
        # that it is recorded.
        self._trusts_parent = environ.get("forge.trusted_proxy", False)
        self._name = environ["REQUEST_METHOD"]
        self._state = environ.get("HTTP_TRACESTATE", "")
        super().__enter__()
        if not self.recording:
            return None
        return self._finish

    def _finish(self, status: int) -> None:
        environ = self._request.environ
        for name, value in observe.http_attributes(environ).items():
            self.set_attribute(name, value)
        observe.record_response(environ, self, environ.get("forge.status", status))
        error = environ.get("forge.error")
        if isinstance(error, Exception):
            self.fail_with(error)


class JobSpan(observe.Span):
    """A consumer span around the run of a job.

    The first run continues the trace in which the job was inserted; a later run begins its own
    trace, linked to that one.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        cause = _text(job, "traceparent")
        name = f"job {job.kind}"
        if job.attempt == 1:
            state = _text(job, "tracestate")
            super().__init__(name, kind="consumer", parent=cause, state=state)
        else:
            links = (cause,) if cause else ()
            super().__init__(name, kind="consumer", links=links)

    def __enter__(self) -> observe.Span:
        job = self._job
        span = super().__enter__()
        job.span = current.get()  # read by the worker's observer after the span has ended
        if span.recording:
            span.set_attribute("messaging.system", "forge")
            span.set_attribute("messaging.operation.type", "process")
            span.set_attribute("messaging.operation.name", "process")
            span.set_attribute("messaging.destination.name", job.queue)
            span.set_attribute("messaging.message.id", str(job.id))
            span.set_attribute("forge.job.attempt", job.attempt)
        return span


def _text(job: Job, name: str) -> str:
    """Return a text of the job's metadata, "" for a value of another type."""
    value = job.metadata.get(name)
    return value if isinstance(value, str) else ""


# -- metrics ---------------------------------------------------------------------------------------


_TABLE = table(__package__, "metrics.toml")
_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG = (0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 900.0, 3600.0)


class Metrics:
    """Every metric of this process. The admin server renders `registry`."""

    def __init__(self, registry: observe.MetricRegistry, build: Mapping[str, Any]) -> None:
        self.registry = registry
        self._requests = self._add("histogram", "forge_http_request_duration_seconds", bounds=_FAST)
        self._queries = self._add("histogram", "forge_db_query_duration_seconds", bounds=_FAST)
        self._jobs = self._add("histogram", "forge_job_duration_seconds", bounds=_LONG)
        self._waits = self._add("histogram", "forge_job_wait_seconds", bounds=_LONG)
        self._inserted = self._add("counter", "forge_jobs_inserted_total")
        self._refused = self._add("counter", "forge_sse_rejected_total")
        observe.add_process_metrics(registry)
        labels = {
            "version": build.get("version", __version__),
            "commit": build.get("commit", "unknown"),
            "impl": fanout.IMPL,
        }
        registry.info("forge_build_info", _TABLE["info"]["forge_build_info"]["help"], labels)

    def request_done(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record a request, called by the application.

        route: its pattern.
        seconds: duration of the request.
        """
        self._requests.observe((method, route, str(status)), seconds)

    def query_done(self, operation: str, seconds: float) -> None:
        """Record a statement, called by each connection. operation: its first word."""
        self._queries.observe((operation,), seconds)

    def job_done(self, job: jobs.Job, outcome: str, seconds: float) -> None:
        """Record an attempt of a job, called by the worker."""
        self._jobs.observe((job.kind, job.queue, outcome), seconds, job.span)
        if outcome != "handed_back":
            self._waits.observe((job.queue,), job.waited, job.span)

    def jobs_inserted(self, kind: str, queue: str, number: int) -> None:
        """Record inserted jobs, called after the commit."""
        self._inserted.count((kind, queue), number)

    def stream_refused(self, error: TooManyConnections) -> None:
        """Record a stream that was refused at a cap."""
        cap = "user" if isinstance(error, TooManyConnectionsForUser) else "total"
        self._refused.count((cap,))

    def watch(self, name: str, read: Callable[[], float | Mapping[Any, float]]) -> None:
        """Read a gauge or counter of metrics.toml from `read` at every scrape."""
        kind = "gauge" if name in _TABLE["gauge"] else "counter"
        self._add(kind, name, callback=read)

    def _add(self, kind: str, name: str, **options: Any) -> Any:
        """Register a metric of metrics.toml, and return it."""
        return getattr(self.registry, kind)(name, **options, **_TABLE[kind][name])

    def watch_dropped(self, name: str, counts: Mapping[Any, int]) -> None:
        """Read a counter from counts by reason at every scrape."""
        self.watch(name, lambda: {(reason,): float(count) for reason, count in counts.items()})

    def watch_streams(
        self, hub: notify.PostgresHub, writer: fanout.StreamWriter, limiter: fanout.Limiter
    ) -> None:
        """Read the metrics of live streams from their services at every scrape."""

        def refreshes() -> Mapping[tuple[str], float]:
            counts = {(reason,): float(count) for reason, count in hub.refreshes.items()}
            # The writer counts overflowed streams, the hub all others.
            counts["overflow",] += writer.refreshes
            return counts

        for cap in ("total", "user"):
            # From 0: Prometheus sees no increase in a series that begins at 1.
            self._refused.labels(cap)
        self.watch("forge_sse_connections", lambda: limiter.active)
        self.watch("forge_sse_connections_limit", lambda: limiter.max_total)
        self.watch("forge_sse_events_sent_total", lambda: writer.frames_sent)
        self.watch("forge_sse_refreshes_total", refreshes)
        self.watch("forge_notify_lag_seconds", lambda: hub.lag_seconds)
        self.watch("forge_notify_reconnects_total", lambda: hub.reconnects)
        self.watch("forge_notify_hubs_down", lambda: not hub.ready[0])
