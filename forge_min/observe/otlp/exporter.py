"""Spans to a collector: OTLP over HTTP with JSON bodies, tried again where the protocol says so.

Sources: https://opentelemetry.io/docs/specs/otlp/#otlphttp and #json-protobuf-encoding . Ids are
hex, 64-bit integers are strings, bytes are base64, span kinds are the API's plus one, and numbers
that JSON has no word for are strings. Redirects are not followed.
"""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import random
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib import import_module
from math import isfinite
from typing import Any
from urllib.parse import SplitResult, urlsplit

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext

from ... import __version__
from ...errors import ConfigError

_AGAIN = frozenset((429, 502, 503, 504))
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0  # seconds between two tries
_SMALL = 1024  # bytes that are sent as they are
_MOST_ANSWER = 1 << 16  # bytes read of an answer
_SAID = 200  # characters of it that a line of the log repeats
_REMOTE, _LOCAL = 0x300, 0x100  # flags: whether the parent is known to be remote, and is
_LEAST_INT, _MOST_INT, _MOST_TIME = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1  # int64, fixed64
_OFFICIAL = "opentelemetry.exporter.otlp.proto.http"
_log = logging.getLogger("forge_min.observe.otlp")


def new_exporter(endpoint: str, *, headers: Mapping[str, str] | None = None) -> SpanExporter:
    """An exporter to `<endpoint>/v1/traces`.

    The official one if it is installed ([otlp]), otherwise ours. Raises ConfigError (F200) for an
    endpoint that is not an address.
    """
    address(endpoint)
    try:
        official, package = import_module(f"{_OFFICIAL}.trace_exporter"), import_module(_OFFICIAL)
    except ImportError:
        return OTLPExporter(endpoint, headers=headers)
    made: SpanExporter = official.OTLPSpanExporter(
        endpoint=endpoint.rstrip("/") + "/v1/traces",
        headers=dict(headers or {}),
        compression=package.Compression.Gzip,
    )
    return made


class _Failed(Exception):
    """A batch that cannot be sent."""


class OTLPExporter(SpanExporter):
    """Posts batches of spans to `<endpoint>/v1/traces`, each on a connection of its own.

    endpoint: "http://host:4318" or https. headers: sent with each request, e.g. credentials.
    timeout: seconds for each step of a request: to connect, to send, to read. patience: seconds
    after which a batch that finds no taker is not tried again. Called by one thread; `shutdown`,
    from any, ends its waiting. Raises ConfigError (F200) for an endpoint that is no such address.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        patience: float = 60.0,
    ) -> None:
        self._url = address(endpoint)
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else None
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"forge_min/{__version__}",
            **(headers or {}),
        }
        self._timeout, self._patience = timeout, patience
        self.left_out = 0
        """Spans of the last batch that could not be written, or that the collector rejected."""
        self._ended = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch.

        FAILURE: it is given up; the reason is logged. Never raises.
        """
        try:
            body, errors = encode_spans(spans)
            if errors:
                _log.warning("%d spans cannot be written: %r", len(errors), errors[-1])
            rejected = self._deliver(body)
            self.left_out = len(errors) + max(0, min(rejected, len(spans) - len(errors)))
        except Exception as err:
            _log.warning("%d spans were dropped: %s", len(spans), err)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Try nothing again from here on. Idempotent."""
        self._ended.set()

    def _deliver(self, body: bytes) -> int:
        """How many spans the collector has rejected, as it says. Raises _Failed."""
        headers = dict(self._headers)
        if len(body) > _SMALL:
            body, headers["Content-Encoding"] = gzip.compress(body, 3, mtime=0), "gzip"
        until, wait = time.monotonic() + self._patience, _FIRST_WAIT
        while True:
            pause = wait * random.uniform(0.8, 1.2)
            try:
                status, retry_after, answer = self._post(body, headers)
            except (OSError, http.client.HTTPException) as err:
                why = str(err)[:_SAID] or type(err).__name__
                why = f"the collector cannot be reached: {why}"
            else:
                if 200 <= status < 300:
                    return _rejected(answer)
                why = f"the collector answered {status}"
                if status not in _AGAIN:
                    raise _Failed(why)
                pause = max(pause, retry_after)
            if time.monotonic() + pause > until or self._ended.wait(pause):
                raise _Failed(why)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, float, bytes]:
        """The answer: its status, Retry-After in seconds (0 for a date), and body."""
        host, port = self._url.hostname or "", self._url.port
        connection = (
            http.client.HTTPConnection(host, port, timeout=self._timeout)
            if self._tls is None
            else http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls)
        )
        with closing(connection):
            try:
                connection.request("POST", self._url.path.rstrip("/") + "/v1/traces", body, headers)
            except ValueError as err:  # its text may be a header's value, which is a secret
                what = type(err).__name__
                message = f"the request cannot be written: {what}; look at the headers"
                raise _Failed(message) from None
            answer = connection.getresponse()
            later = answer.getheader("Retry-After", "")
            seconds = float(later[:9]) if later.isascii() and later.isdigit() else 0.0
            return answer.status, seconds, answer.read(_MOST_ANSWER)


def _rejected(answer: bytes) -> int:
    """A partial success is not tried again, as the specification says."""
    try:
        part = json.loads(answer)["partialSuccess"]
        count, why = int(part.get("rejectedSpans", 0)), str(part.get("errorMessage", ""))
    except Exception:  # it may be anything; then it says nothing of that
        return 0
    if count > 0:
        _log.warning("the collector rejected %d spans: %s", count, why[:_SAID])
    return count


def address(endpoint: str) -> SplitResult:
    """Its parts. Raises ConfigError (F200) unless it is one."""
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


def encode_spans(spans: Sequence[ReadableSpan]) -> tuple[bytes, list[Exception]]:
    """Encode spans of one resource as an ExportTraceServiceRequest.

    Returns it with an error for each span that is left out because a value in it cannot be written.
    """
    scopes: dict[tuple[str, str], list[dict[str, Any]]] = {}
    errors: list[Exception] = []
    for span in spans:
        try:
            scope = span.instrumentation_scope
            place = (str(scope.name), str(scope.version or "")) if scope else ("", "")
            scopes.setdefault(place, []).append(_span(span))
        except Exception as err:  # of a value's own
            errors.append(err)
    groups = [
        {"scope": {"name": name, "version": version}, "spans": rows}
        for (name, version), rows in scopes.items()
    ]
    resource = {"attributes": _attributes(spans[0].resource.attributes if spans else None)}
    request = {"resourceSpans": [{"resource": resource, "scopeSpans": groups}]}
    # A collector refuses a batch for half a surrogate pair: "?" takes its place.
    text = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace"), errors


def _span(span: ReadableSpan) -> dict[str, Any]:
    ids, parent = span.get_span_context(), span.parent
    assert ids is not None  # of one that has ended
    row: dict[str, Any] = {
        **_place(ids),
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
        row["flags"] |= _REMOTE if parent.is_remote else _LOCAL
    return row


def _place(ids: SpanContext) -> dict[str, str]:
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
    flags = (_REMOTE if link.context.is_remote else _LOCAL) | link.context.trace_flags
    attributes = _attributes(link.attributes)
    return {**_place(link.context), "flags": flags, "attributes": attributes}


def _attributes(attributes: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [{"key": str(key), "value": _value(value)} for key, value in (attributes or {}).items()]


def _value(value: Any) -> dict[str, Any]:
    # SAFETY: by the number's own class; a subclass may write itself in another way, as Enum does.
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
    except Exception:  # of the value's own
        return {"stringValue": type(value).__name__}


def _double(value: float) -> float | str:
    if isfinite(value):
        return float(value)
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _time(given: Any) -> str:
    """ns since 1970, within the protocol's bounds; libraries may have given any number."""
    return str(min(max(int(given or 0), 0), _MOST_TIME))
