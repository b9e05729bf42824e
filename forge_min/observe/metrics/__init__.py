"""Metrics: the registry, its text for Prometheus, and the series of the process itself."""

from .aggregation import Snapshot, lasting, snapshot, summed
from .exposition import CONTENT_TYPE, OPENMETRICS_TYPE, render_metrics, scrape
from .family import Family
from .process import add_process_metrics
from .registry import Registry

__all__ = [
    "CONTENT_TYPE", "Family", "OPENMETRICS_TYPE", "Registry", "Snapshot", "add_process_metrics",
    "lasting", "render_metrics", "scrape", "snapshot", "summed",
]  # fmt: skip
