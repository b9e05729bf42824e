"""The series of the contract, and the plain functions that services call to fill them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import __version__, fanout, jobs, notify, observe

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Every metric of this process. `registry` is what the admin server renders."""

    def __init__(self, registry: observe.Registry, build: Mapping[str, Any]) -> None:
        self.registry = registry
        self._requests = registry.histogram(
            "forge_http_request_duration_seconds",
            "Time from the request's head to its answer.",
            ("method", "route", "status"),
            _FAST,
        )
        self._queries = registry.histogram(
            "forge_db_query_duration_seconds",
            "Time of a statement as the application sees it.",
            ("operation",),
            _FAST,
        )
        self._jobs = registry.histogram(
            "forge_job_duration_seconds",
            "Time that a job's work took.",
            ("kind", "queue", "outcome"),
            _FAST,
        )
        observe.add_process_metrics(registry)
        version, commit = build.get("version", __version__), build.get("commit", "unknown")
        info = (version, commit, fanout.IMPL)
        registry.gauge(
            "forge_build_info",
            "Always 1; the labels say what runs.",
            ("version", "commit", "impl"),
            callback=lambda: {info: 1.0},
        )

    def request_done(self, method: str, route: str, status: int, seconds: float) -> None:
        """Told by the application after each request. route: the pattern."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def query_done(self, operation: str, seconds: float) -> None:
        """Told by each connection after each statement. operation: the first word."""
        self._queries.labels(operation).observe(seconds)

    def job_done(self, job: jobs.Job, outcome: str, seconds: float) -> None:
        """Told by the worker after each attempt."""
        self._jobs.labels(job.kind, job.queue, outcome).observe(seconds)

    def watch(
        self, hub: notify.PostgresHub, writer: fanout.StreamWriter, limiter: fanout.Limiter
    ) -> None:
        """Series that are read from the live services when somebody scrapes."""
        add = self.registry
        add.gauge("forge_sse_connections", "Open streams.", callback=lambda: float(limiter.active))
        add.counter(
            "forge_sse_events_sent_total",
            "Frames written to streams.",
            callback=lambda: float(writer.frames_sent),
        )
        add.counter(
            "forge_sse_refreshes_total",
            "Refresh events, by reason.",
            ("reason",),
            callback=lambda: {("overflow",): float(writer.refreshes)},
        )
        add.gauge(
            "forge_notify_lag_seconds",
            "Age of the newest event when it was read.",
            callback=lambda: float(hub.lag_seconds),
        )
        add.counter(
            "forge_notify_reconnects_total",
            "Times the LISTEN connection was opened anew.",
            callback=lambda: float(hub.reconnects),
        )
