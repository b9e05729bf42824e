"""Metrics: the registry, its text formats, and the metrics of the process itself."""

from .aggregation import Snapshot, aggregate, counters_only, snapshot
from .exposition import CONTENT_TYPE, OPENMETRICS_TYPE, render_metrics, scrape
from .metric import Metric
from .process import add_process_metrics
from .registry import Registry

__all__ = [
    "CONTENT_TYPE", "Metric", "OPENMETRICS_TYPE", "Registry", "Snapshot", "add_process_metrics",
    "aggregate", "counters_only", "render_metrics", "scrape", "snapshot",
]  # fmt: skip
