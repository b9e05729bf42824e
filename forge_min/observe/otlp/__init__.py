"""Spans to an OpenTelemetry collector: OTLP/HTTP with JSON bodies, by the standard library."""

from .batch import Batch
from .choice import new_exporter
from .exporter import OTLPExporter, encode_spans

__all__ = ["Batch", "OTLPExporter", "encode_spans", "new_exporter"]
