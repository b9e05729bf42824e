"""Metrics: the registry, its text for Prometheus, and the series of the process itself."""

from .process import add_process_metrics
from .prometheus import CONTENT_TYPE, render_metrics
from .registry import Registry

__all__ = ["CONTENT_TYPE", "Registry", "add_process_metrics", "render_metrics"]
