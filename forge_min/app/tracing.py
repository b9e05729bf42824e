"""The spans of requests and jobs, joined by the job's traceparent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .. import observe
from ..jobs import Job
from ..observe import current, is_recording, new_root
from ..wsgi import Request


def new_telemetry(config: Any, *, development: bool) -> observe.Telemetry | None:
    """Return the SDK's providers, or None in production without observe.otlp_endpoint.

    Spans are exported to observe.otlp_endpoint, and in development each trace is printed as a tree
    on the console. In production without an endpoint no span is recorded, because nothing would
    read it; trace ids are still propagated.
    """
    if not config.otlp_endpoint and not development:
        return None
    exporter, print_tree = None, None
    if config.otlp_endpoint:
        exporter = observe.new_exporter(config.otlp_endpoint, headers=config.otlp_headers)
    if development and observe.is_text(config.log_format, sys.stderr):
        lines = observe.line_writer(sys.stderr)

        def print_tree(tree: object) -> None:
            lines.put(f"{tree}\n")

    return observe.setup(
        config.service_name,
        sample_ratio=config.sample_ratio,
        exporter=exporter,
        on_trace=print_tree,
    )


class RequestSpan(observe.Span):
    """A server span of the stable HTTP conventions of OpenTelemetry: `around` of an Application.

    PERF: a class, because a generator's context manager costs as much as the router. It sets only
    the attributes in which it differs from most spans (case hello).
    """

    _kind = "server"

    def __init__(self, request: Request) -> None:
        self._request = request

    def __enter__(self) -> Callable[[int], None] | None:  # type: ignore[override]
        environ = self._request.environ
        self._parent = parent = environ.get("HTTP_TRACEPARENT", "")
        if not parent and not is_recording():
            self._context = context = new_root(False)
            self._token = current.set(context)
            return None
        # W3C Trace Context, 4.3 and 6.3: an untrusted client may name the trace, but not decide
        # that it is recorded.
        self._trusts_parent = environ.get("forge.trusted_proxy", False)
        self._name = environ["REQUEST_METHOD"]
        self._state = environ.get("HTTP_TRACESTATE", "")
        self._begin()
        return self._finish if self.recording else None

    def _finish(self, status: int) -> None:
        environ = self._request.environ
        for name, value in observe.http_attributes(environ).items():
            self.set_attribute(name, value)
        observe.record_response(environ, self, environ.get("forge.status", status))
        error = environ.get("forge.error")
        if isinstance(error, Exception):
            self.fail_with(error)


class JobSpan:
    """A consumer span around the run of a job.

    The first run continues the trace in which the job was inserted; a later run begins its own
    trace, linked to that one.
    """

    __slots__ = ("_job", "_span")

    def __init__(self, job: Job) -> None:
        self._job = job
        headers = (job.metadata.get(name) for name in ("traceparent", "tracestate"))
        cause, state = (value if isinstance(value, str) else "" for value in headers)
        first = job.attempt == 1
        self._span = observe.span(
            f"job {job.kind}",
            kind="consumer",
            parent=cause if first else None,
            state=state if first else "",
            links=() if first or not cause else (cause,),
        )

    def __enter__(self) -> None:
        job, span = self._job, self._span.__enter__()
        job.span = current.get()  # read by the worker's observer after the span has ended
        if span.recording:
            span.set_attribute("messaging.system", "forge")
            span.set_attribute("messaging.operation.type", "process")
            span.set_attribute("messaging.operation.name", "process")
            span.set_attribute("messaging.destination.name", job.queue)
            span.set_attribute("messaging.message.id", str(job.id))
            span.set_attribute("forge.job.attempt", job.attempt)

    def __exit__(self, *error: Any) -> None:
        self._span.__exit__(*error)
