"""Metrics: the registry, its text for Prometheus, and the series of the process itself."""

from .exemplars import Exemplar
from .family import Family
from .negotiate import scrape
from .openmetrics import OPENMETRICS_TYPE, render_openmetrics
from .process import add_process_metrics
from .prometheus import CONTENT_TYPE, render_metrics
from .registry import Registry
from .summed import Snapshot, lasting, snapshot, summed

__all__ = [
    "CONTENT_TYPE", "Exemplar", "Family", "OPENMETRICS_TYPE", "Registry", "Snapshot",
    "add_process_metrics", "lasting", "render_metrics", "render_openmetrics", "scrape", "snapshot",
    "summed",
]  # fmt: skip
