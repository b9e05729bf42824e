"""Seeing inside: logs, metrics, traces. Loads neither psycopg nor OpenTelemetry.

`setup`, `Telemetry`, `OTLPExporter` and `Exposed` need OpenTelemetry: they are loaded when they are
first asked for (PEP 562), so a process that exports no spans never pays for it (40 ms, 10 MiB).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .access import AccessLog
from .connections import trace_connection
from .log import log_fields, new_handler
from .metrics import (
    CONTENT_TYPE,
    OPENMETRICS_TYPE,
    Registry,
    Snapshot,
    add_process_metrics,
    lasting,
    render_metrics,
    render_openmetrics,
    scrape,
    snapshot,
    summed,
)
from .tracing import Span, current_traceparent, span
from .wsgi import trace_wsgi

if TYPE_CHECKING:
    from .metrics.meter import Exposed
    from .otlp import OTLPExporter
    from .sdk import Telemetry, setup

__all__ = [
    "AccessLog", "CONTENT_TYPE", "Exposed", "OPENMETRICS_TYPE", "OTLPExporter", "Registry",
    "Snapshot", "Span", "Telemetry", "add_process_metrics", "current_traceparent", "lasting",
    "log_fields", "new_handler", "render_metrics", "render_openmetrics", "scrape", "setup",
    "snapshot", "span", "summed", "trace_connection", "trace_wsgi",
]  # fmt: skip


_HOMES = {
    "setup": ".sdk",
    "Telemetry": ".sdk",
    "OTLPExporter": ".otlp",
    "Exposed": ".metrics.meter",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
