"""The exporter of spans to a collector: OTLP over HTTP with JSON bodies, and retries.

Sources: https://opentelemetry.io/docs/specs/otlp/#otlphttp and #json-protobuf-encoding . Ids are
hex, 64-bit integers are strings, bytes are base64, span kinds are the API's plus one, and NaN and
infinite numbers are strings. Redirects are not followed.
"""

from __future__ import annotations

import gzip
import http.client
import json
import random
import threading
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib import import_module
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext

from ... import __version__
from .batch import log

_RETRIED = frozenset((429, 502, 503, 504))
_FIRST_WAIT = 1.0  # seconds between two attempts
_LONGEST_WAIT = 30.0
_MOST_RESPONSE = 1 << 16  # bytes read of a response
_LOGGED = 200  # characters of an error that are logged
_REMOTE = 0x300  # flags of a remote parent
_LOCAL = 0x100  # flags of a local parent
_LEAST_INT = -(1 << 63)  # int64
_MOST_INT = (1 << 63) - 1
_MOST_TIME = (1 << 64) - 1  # fixed64
_OFFICIAL = "opentelemetry.exporter.otlp.proto.http"


def new_exporter(endpoint: str, *, headers: Mapping[str, str] | None = None) -> SpanExporter:
    """Return an exporter to `<endpoint>/v1/traces`.

    It is OpenTelemetry's exporter if that is installed ([otlp]), else an `OTLPExporter`.
    """
    try:
        official = import_module(f"{_OFFICIAL}.trace_exporter")
        package = import_module(_OFFICIAL)
    except ImportError:
        return OTLPExporter(endpoint, headers=headers)
    exporter: SpanExporter = official.OTLPSpanExporter(
        endpoint=endpoint.rstrip("/") + "/v1/traces",
        headers=dict(headers or {}),
        compression=package.Compression.Gzip,
    )
    return exporter


class OTLPExporter(SpanExporter):
    """Posts batches of spans to `<endpoint>/v1/traces`, each on a connection of its own.

    One thread calls `export`; `shutdown`, from any thread, ends its retries.

    endpoint: an http or https URL, such as "http://host:4318". The configuration checks it.
    headers: sent with each request, e.g. credentials.
    timeout: seconds for each step of a request: connect, send, read. Default 10.
    patience: seconds after which a failed batch is not retried. Default 60.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        patience: float = 60.0,
    ) -> None:
        url = urlsplit(endpoint)
        connection: type[http.client.HTTPConnection] = http.client.HTTPConnection
        if url.scheme == "https":
            connection = http.client.HTTPSConnection
        self._connection = connection(url.hostname or "", url.port, timeout=timeout)
        self._path = url.path.rstrip("/") + "/v1/traces"
        self._headers = {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "User-Agent": f"forge_min/{__version__}",
            **(headers or {}),
        }
        self._patience = patience
        self.left_out = 0
        """Spans of the last batch that could not be encoded, or that the collector rejected."""
        self._stopping = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch. Never raises.

        Returns FAILURE if the batch is dropped, and logs the reason.
        """
        try:
            body, errors = encode_spans(spans)
            if errors:
                log.warning("%d spans cannot be encoded: %r", len(errors), errors[-1])
            rejected = self._send(body)
            sent = len(spans) - len(errors)
            self.left_out = len(errors) + max(0, min(rejected, sent))
        except Exception as err:
            log.warning("%d spans were dropped: %s", len(spans), err)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """End retries. Idempotent."""
        self._stopping.set()

    def _send(self, body: bytes) -> int:
        """Return the number of spans that the collector rejected. Raises RuntimeError."""
        body = gzip.compress(body, 3, mtime=0)
        until = time.monotonic() + self._patience
        wait = _FIRST_WAIT
        while True:
            pause = wait * random.uniform(0.8, 1.2)
            try:
                status, retry_after, content = self._post(body)
            except (OSError, http.client.HTTPException) as err:
                why = f"cannot reach the collector: {str(err)[:_LOGGED] or type(err).__name__}"
            else:
                if 200 <= status < 300:
                    return _rejected(content)
                why = f"the collector returned status {status}"
                if status not in _RETRIED:
                    raise RuntimeError(why)
                pause = max(pause, retry_after)
            if time.monotonic() + pause > until or self._stopping.wait(pause):
                raise RuntimeError(why)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _post(self, body: bytes) -> tuple[int, float, bytes]:
        """Return the status, Retry-After in seconds (0 for a date), and the body."""
        with closing(self._connection) as connection:  # the next request opens it again
            connection.connect()  # a certificate that is not valid is a ValueError, too
            try:
                connection.request("POST", self._path, body, self._headers)
            except ValueError as err:  # its text may contain a header's value, which is a secret
                message = f"invalid request ({type(err).__name__}): check observe.otlp_headers"
                raise RuntimeError(message) from None
            response = connection.getresponse()
            after = response.getheader("Retry-After", "")
            seconds = 0.0
            if after.isascii() and after.isdigit():
                seconds = float(after[:9])
            return response.status, seconds, response.read(_MOST_RESPONSE)


def _rejected(content: bytes) -> int:
    """Return the rejected spans of a partial success, which the specification does not retry."""
    try:
        part = json.loads(content)["partialSuccess"]
        count = int(part.get("rejectedSpans", 0))
        why = str(part.get("errorMessage", ""))
    except Exception:  # not an ExportTraceServiceResponse: no span is reported as rejected
        return 0
    if count > 0:
        log.warning("the collector rejected %d spans: %s", count, why[:_LOGGED])
    return count


def encode_spans(spans: Sequence[ReadableSpan]) -> tuple[bytes, list[Exception]]:
    """Encode spans of one resource as an ExportTraceServiceRequest.

    Returns the request, and an error for each span that is omitted because it cannot be encoded.
    """
    scopes: dict[tuple[str, str], list[dict[str, Any]]] = {}
    errors = []
    for span in spans:
        try:
            scope = span.instrumentation_scope
            key = ("", "")
            if scope is not None:
                key = (str(scope.name), str(scope.version or ""))
            scopes.setdefault(key, []).append(_span(span))
        except Exception as err:  # raised by a value
            errors.append(err)
    groups = []
    for (name, version), rows in scopes.items():
        groups.append({"scope": {"name": name, "version": version}, "spans": rows})
    attributes = spans[0].resource.attributes if spans else None
    resource = {"attributes": _attributes(attributes)}
    request = {"resourceSpans": [{"resource": resource, "scopeSpans": groups}]}
    # A collector rejects a batch with a lone surrogate: it becomes "?".
    text = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace"), errors


def _span(span: ReadableSpan) -> dict[str, Any]:
    parent = span.parent
    ids = span.get_span_context()
    assert ids is not None  # the span has ended
    row: dict[str, Any] = {
        **_ids(ids),
        "flags": ids.trace_flags,
        "name": str(span.name),
        "kind": span.kind.value + 1,
        "startTimeUnixNano": _time(span.start_time),
        "endTimeUnixNano": _time(span.end_time),
        "attributes": _attributes(span.attributes),
        "droppedAttributesCount": span.dropped_attributes,
        "events": [_event(event) for event in span.events],
        "droppedEventsCount": span.dropped_events,
        "links": [_link(link) for link in span.links],
        "droppedLinksCount": span.dropped_links,
        "status": {
            "code": span.status.status_code.value,
            "message": str(span.status.description or ""),
        },
    }
    if parent is not None:
        row["parentSpanId"] = f"{parent.span_id:016x}"
        row["flags"] |= _origin(parent)
    return row


def _ids(ids: SpanContext) -> dict[str, str]:
    return {
        "traceId": f"{ids.trace_id:032x}",
        "spanId": f"{ids.span_id:016x}",
        "traceState": ids.trace_state.to_header(),
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "timeUnixNano": _time(event.timestamp),
        "name": str(event.name),
        "attributes": _attributes(event.attributes),
    }


def _link(link: Link) -> dict[str, Any]:
    context = link.context
    return {
        **_ids(context),
        "flags": _origin(context) | context.trace_flags,
        "attributes": _attributes(link.attributes),
    }


def _origin(context: SpanContext) -> int:
    return _REMOTE if context.is_remote else _LOCAL


def _attributes(attributes: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [{"key": str(key), "value": _value(value)} for key, value in (attributes or {}).items()]


def _value(value: Any) -> dict[str, Any]:
    # SAFETY: methods of the built-in classes; those of a subclass may differ, as Enum's do.
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int) and _LEAST_INT <= value <= _MOST_INT:
        return {"intValue": int.__repr__(value)}
    if isinstance(value, float):
        return {"doubleValue": _double(value)}
    if isinstance(value, list | tuple):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    if isinstance(value, bytes):
        return {"bytesValue": b64encode(value).decode()}
    if value is None:
        return {}
    try:
        return {"stringValue": str(value)}
    except Exception:  # raised by the value
        return {"stringValue": type(value).__name__}


def _double(value: float) -> float | str:
    if isfinite(value):
        return float(value)
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _time(time_ns: Any) -> str:
    """Return ns since 1970, limited to the protocol's range: libraries may set any number."""
    return str(min(max(int(time_ns or 0), 0), _MOST_TIME))
