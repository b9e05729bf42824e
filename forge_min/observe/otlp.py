"""Spans to an OpenTelemetry collector: OTLP/HTTP with JSON bodies, by the standard library.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp . In that JSON ids are hex, 64-bit
integers are strings and span kinds are the API's plus one. One attempt per batch; what
fails is dropped.
"""

from __future__ import annotations

import http.client
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from .. import __version__
from ..errors import ConfigError

_log = logging.getLogger(__name__)


class OTLPExporter(SpanExporter):
    """Posts batches of spans to `<endpoint>/v1/traces`. Called by one thread, the SDK's.

    endpoint: "http://host:4318" or https. timeout: seconds for each step of a request. Raises
    ConfigError (F200) for an endpoint that is no such address.
    """

    def __init__(self, endpoint: str, *, timeout: float = 10.0) -> None:
        url = _split(endpoint)
        self._tls = url.scheme == "https"
        self._host = url.hostname or ""
        self._port = url.port
        self._path = url.path.rstrip("/") + "/v1/traces"
        self._timeout = timeout

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch. A collector that is down or refuses is logged, never raised."""
        try:
            self._post(encode_spans(spans))
        except (OSError, http.client.HTTPException) as err:
            _log.warning("%d spans were dropped: %s", len(spans), err)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def _post(self, body: bytes) -> None:
        """Raises OSError or HTTPException, also for an answer that is no success."""
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout)
        try:
            connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            status = connection.getresponse().status
            if not 200 <= status < 300:
                raise http.client.HTTPException(f"the collector answered {status}")
        finally:
            connection.close()


def _split(endpoint: str) -> SplitResult:
    try:
        url = urlsplit(endpoint)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        usable = False
    if not usable:
        raise ConfigError(
            f"observe.otlp_endpoint must be an http:// or https:// address, not {endpoint!r}",
            hint="for example http://127.0.0.1:4318",
        )
    return url


def encode_spans(spans: Sequence[ReadableSpan]) -> bytes:
    """One ExportTraceServiceRequest as JSON. All spans come from one resource and scope: ours."""
    resource = {"attributes": _attributes(spans[0].resource.attributes if spans else {})}
    scope = {"name": "forge_min", "version": __version__}
    recorded = [{"scope": scope, "spans": [_span(span) for span in spans]}]
    request = {"resourceSpans": [{"resource": resource, "scopeSpans": recorded}]}
    return json.dumps(request).encode()


def _span(span: ReadableSpan) -> dict[str, Any]:
    row: dict[str, Any] = {
        "traceId": f"{span.context.trace_id:032x}",
        "spanId": f"{span.context.span_id:016x}",
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time or 0),
        "endTimeUnixNano": str(span.end_time or 0),
        "attributes": _attributes(span.attributes or {}),
        "events": [_event(event) for event in span.events],
        "status": {"code": span.status.status_code.value},
    }
    if span.parent is not None:
        row["parentSpanId"] = f"{span.parent.span_id:016x}"
    if span.status.description:
        row["status"]["message"] = span.status.description
    return row


def _event(event: Event) -> dict[str, Any]:
    return {
        "timeUnixNano": str(event.timestamp),
        "name": event.name,
        "attributes": _attributes(event.attributes or {}),
    }


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    return {"arrayValue": {"values": [_value(item) for item in value]}}
