"""Seeing inside: logs, metrics, traces. Loads neither psycopg nor OpenTelemetry.

`setup`, `Telemetry`, `OTLPExporter` and `Exposed` need OpenTelemetry: they are loaded when they are
first asked for (PEP 562), so a process that exports no spans never pays for it (40 ms, 10 MiB).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_exports
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
from .logs.handler import span_fields
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
from .single_flight import SingleFlight
from .traceparent import SpanContext, new_root
from .tracing import Span, current, current_trace, current_traceparent, recording, span
from .wsgi import http_attributes, note_answer, trace_wsgi

if TYPE_CHECKING:
    from .metrics.meter import Exposed
    from .otlp import OTLPExporter, new_exporter
    from .profiles import Inspector, Profile, Question, Wait, collapsed, flame_graph, merged
    from .recent_traces import Branch, Tree
    from .sdk import Telemetry, setup


__all__ = [
    "AccessLog", "Branch", "CONTENT_TYPE", "Exposed", "Inspector", "LineWriter", "OPENMETRICS_TYPE",
    "OTLPExporter", "Profile", "Question", "Registry", "SingleFlight", "Snapshot", "Span",
    "SpanContext", "Telemetry", "Tree", "Wait", "add_process_metrics", "collapsed", "current",
    "current_trace", "current_traceparent", "flame_graph", "http_attributes", "is_text", "lasting",
    "lines_to", "log_fields", "masked", "merged", "new_exporter", "new_handler", "new_root", "note",
    "note_answer", "noting", "recording", "render_metrics", "scrape", "setup", "snapshot", "span",
    "span_fields", "summed", "tidied", "trace_connection", "trace_of", "trace_wsgi",
]  # fmt: skip

__getattr__ = lazy_exports(
    __name__,
    {
        "metrics.meter": ["Exposed"],
        "otlp": ["OTLPExporter", "new_exporter"],
        "profiles": [
            "Inspector",
            "Profile",
            "Question",
            "Wait",
            "collapsed",
            "flame_graph",
            "merged",
        ],
        "recent_traces": ["Branch", "Tree"],
        "sdk": ["Telemetry", "setup"],
    },
)
