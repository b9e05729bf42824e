"""Seeing inside: logs, metrics, traces. Loads neither psycopg nor OpenTelemetry.

`setup`, `Telemetry`, `OTLPExporter` and `Exposed` need OpenTelemetry: they are loaded when they are
first asked for (PEP 562), so a process that exports no spans never pays for it (40 ms, 10 MiB).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .asked import Asked
from .connections import trace_connection
from .logs import (
    AccessLog,
    LineWriter,
    is_text,
    lines_to,
    log_fields,
    masked,
    new_handler,
    note,
    noting,
    tidied,
    trace_of,
)
from .metrics import (
    CONTENT_TYPE,
    OPENMETRICS_TYPE,
    Registry,
    Snapshot,
    add_process_metrics,
    lasting,
    render_metrics,
    scrape,
    snapshot,
    summed,
)
from .tracing import Span, current_traceparent, span
from .wsgi import http_attributes, note_answer, trace_wsgi

if TYPE_CHECKING:
    from .metrics.meter import Exposed
    from .otlp import OTLPExporter, new_exporter
    from .sdk import Telemetry, setup

__all__ = [
    "AccessLog", "Asked", "CONTENT_TYPE", "Exposed", "LineWriter", "OPENMETRICS_TYPE",
    "OTLPExporter", "Registry", "Snapshot", "Span", "Telemetry", "add_process_metrics",
    "current_traceparent", "http_attributes", "is_text", "lasting", "lines_to", "log_fields",
    "masked", "new_exporter", "new_handler", "note", "note_answer", "noting", "render_metrics",
    "scrape", "setup", "snapshot", "span", "summed", "tidied",
    "trace_connection", "trace_of", "trace_wsgi",
]  # fmt: skip


_LATER = {
    "setup": ".sdk", "Telemetry": ".sdk", "OTLPExporter": ".otlp", "new_exporter": ".otlp",
    "Exposed": ".metrics.meter",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if home := _LATER.get(name):
        return getattr(import_module(home, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
