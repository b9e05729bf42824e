"""Observability: logs, metrics, traces and profiles. Loads neither psycopg nor OpenTelemetry.

`setup`, `Telemetry`, `OTLPExporter` and `MeterBridge` need OpenTelemetry. They are loaded at their
first use (PEP 562), so a process that exports no spans does not pay for it (40 ms, 10 MiB).
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports
from .connections import trace_connection
from .logs import log_fields
from .logs.handler import AccessLog, add_log_fields, is_text, log_context, new_handler, span_fields
from .logs.writer import LineWriter, line_writer
from .metrics.aggregation import Snapshot, aggregate, counters_only, snapshot
from .metrics.exposition import CONTENT_TYPE, OPENMETRICS_TYPE, render_metrics, scrape
from .metrics.process import add_process_metrics
from .metrics.registry import MetricRegistry
from .single_flight import SingleFlight
from .tracing import (
    Span,
    SpanContext,
    current,
    current_traceparent,
    is_recording,
    new_root,
    span,
    trace_headers,
)
from .wsgi import http_attributes, record_response

if TYPE_CHECKING:
    from .metrics.meter import MeterBridge
    from .otlp.exporter import OTLPExporter, new_exporter
    from .profiles.inspector import Inspection, Inspector
    from .profiles.sampling import Profile, Wait, format_collapsed, merge_profiles
    from .recent_traces import Branch, Tree
    from .sdk import Telemetry, setup


__all__ = [
    "AccessLog", "Branch", "CONTENT_TYPE", "Inspection", "Inspector", "LineWriter", "MeterBridge",
    "MetricRegistry", "OPENMETRICS_TYPE", "OTLPExporter", "Profile", "SingleFlight", "Snapshot",
    "Span", "SpanContext", "Telemetry", "Tree", "Wait", "add_log_fields", "add_process_metrics",
    "aggregate", "counters_only", "current", "current_traceparent", "format_collapsed",
    "http_attributes", "is_recording", "is_text", "line_writer", "log_context", "log_fields",
    "merge_profiles", "new_exporter", "new_handler",
    "new_root", "record_response", "render_metrics", "scrape", "setup", "snapshot",
    "span", "span_fields", "trace_connection", "trace_headers",
]  # fmt: skip

__getattr__ = lazy_exports(
    __name__,
    {
        "metrics.meter": ["MeterBridge"],
        "otlp.exporter": ["OTLPExporter", "new_exporter"],
        "profiles.inspector": ["Inspection", "Inspector"],
        "profiles.sampling": ["Profile", "Wait", "format_collapsed", "merge_profiles"],
        "recent_traces": ["Branch", "Tree"],
        "sdk": ["Telemetry", "setup"],
    },
)
