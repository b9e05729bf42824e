"""Seeing inside: logs, metrics, traces. Loads neither psycopg nor OpenTelemetry.

`setup`, `Telemetry`, `OTLPExporter` and `Exposed` need OpenTelemetry: they are loaded when they are
first asked for (PEP 562), so a process that exports no spans never pays for it (40 ms, 10 MiB).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..late import late
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
    from .profiles import Inspector, Profile, Question, Wait, collapsed, flame_graph, merged
    from .recent import Branch, Tree
    from .sdk import Telemetry, setup

__all__ = [
    "AccessLog", "Asked", "Branch", "CONTENT_TYPE", "Exposed", "Inspector", "LineWriter",
    "OPENMETRICS_TYPE", "OTLPExporter", "Profile", "Question", "Registry", "Snapshot", "Span",
    "Telemetry", "Tree", "Wait", "add_process_metrics", "collapsed", "current_traceparent",
    "flame_graph", "http_attributes", "is_text", "lasting", "lines_to", "log_fields", "masked",
    "merged", "new_exporter", "new_handler", "note", "note_answer", "noting", "render_metrics",
    "scrape", "setup", "snapshot", "span", "summed", "tidied", "trace_connection", "trace_of",
    "trace_wsgi",
]  # fmt: skip

__getattr__ = late(
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
        "recent": ["Branch", "Tree"],
        "sdk": ["Telemetry", "setup"],
    },
)
