"""Metrics: the registry, its text formats, and the metrics of the process itself."""

__all__: list[str] = []
