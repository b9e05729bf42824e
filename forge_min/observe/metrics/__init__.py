"""Metrics: the registry, its text formats, and the metrics of the process itself."""

from .registry import MetricRegistry

__all__ = ["MetricRegistry"]
