"""Metrics: the registry, its text for Prometheus, and the series of the process itself."""

from .process import add_process_metrics
from .prometheus import CONTENT_TYPE, render_metrics
from .registry import Registry
from .summed import Snapshot, lasting, snapshot, summed

__all__ = [
    "CONTENT_TYPE", "Registry", "Snapshot", "add_process_metrics", "lasting", "render_metrics",
    "snapshot", "summed",
]  # fmt: skip
