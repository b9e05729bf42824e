"""Seeing inside: logs, metrics, traces. Loads neither psycopg nor OpenTelemetry.

`setup` and `Telemetry` need the OpenTelemetry SDK: they are loaded when they are first asked for
(PEP 562), so that a server can bind its port before. The OTLP exporter is imported by path
(`observe.otlp`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .connections import trace_connection
from .log import log_fields, new_handler
from .metrics import CONTENT_TYPE, Registry, add_process_metrics, render_metrics
from .tracing import Span, current_traceparent, span
from .wsgi import trace_wsgi

if TYPE_CHECKING:
    from .sdk import Telemetry, setup

__all__ = [
    "CONTENT_TYPE",
    "Registry",
    "Span",
    "Telemetry",
    "add_process_metrics",
    "current_traceparent",
    "log_fields",
    "new_handler",
    "render_metrics",
    "setup",
    "span",
    "trace_connection",
    "trace_wsgi",
]


def __getattr__(name: str) -> object:
    if name in ("setup", "Telemetry"):
        return getattr(import_module(".sdk", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
