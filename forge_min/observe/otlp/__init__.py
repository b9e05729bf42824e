"""Spans to an OpenTelemetry collector: OTLP/HTTP with JSON bodies, by the standard library."""

from .batch import Batch
from .exporter import OTLPExporter, encode_spans, new_exporter

__all__ = ["Batch", "OTLPExporter", "encode_spans", "new_exporter"]
