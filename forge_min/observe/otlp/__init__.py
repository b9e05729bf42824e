"""The export of spans to an OpenTelemetry collector: OTLP/HTTP with JSON bodies."""

from .batch import BatchProcessor
from .exporter import OTLPExporter, encode_spans, new_exporter

__all__ = ["BatchProcessor", "OTLPExporter", "encode_spans", "new_exporter"]
