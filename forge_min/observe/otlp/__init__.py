"""Spans to an OpenTelemetry collector: OTLP/HTTP with JSON bodies, by the standard library."""

from .batch import BatchProcessor
from .exporter import OTLPExporter, encode_spans, new_exporter

__all__ = ["BatchProcessor", "OTLPExporter", "encode_spans", "new_exporter"]
