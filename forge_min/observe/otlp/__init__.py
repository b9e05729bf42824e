"""The export of spans to an OpenTelemetry collector: OTLP/HTTP with JSON bodies."""

__all__: list[str] = []
