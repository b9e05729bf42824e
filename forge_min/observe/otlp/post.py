"""OTLP over HTTP: one batch to a collector, tried again where the specification says so.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp . Redirects are not followed.
"""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import random
import threading
import time
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ... import __version__
from ...errors import ConfigError
from .encode import encode_spans

_AGAIN = frozenset((429, 502, 503, 504))
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0  # seconds between two tries
_SMALL = 1024  # bytes that are sent as they are
_MOST_ANSWER = 1 << 16  # bytes read of an answer
_SAID = 200  # characters of it that a line of the log repeats
_log = logging.getLogger("forge_min.observe.otlp")


class _Refused(Exception):
    """The collector will not take this batch, now or later."""


class _Later(Exception):
    """The collector may take it later. wait: seconds that it asks for."""

    def __init__(self, said: str, wait: float = 0.0) -> None:
        super().__init__(said)
        self.wait = wait


class OTLPExporter(SpanExporter):
    """Posts batches of spans to `<endpoint>/v1/traces`, on one connection that it keeps.

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
        url = address(endpoint)
        tls = url.scheme == "https"
        kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
        self._connection = kind(url.hostname or "", url.port, timeout=timeout)
        self._path = url.path.rstrip("/") + "/v1/traces"
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"forge_min/{__version__}",
            **(headers or {}),
        }
        self._patience = patience
        self.left_out = 0
        """Spans of the last batch that could not be written, or that the collector rejected."""
        self._ended = threading.Event()
        self._using = threading.Lock()  # LOCK: guards the connection

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch. FAILURE: it is given up; why is logged. Never raises."""
        try:
            body, errors = encode_spans(spans)
            if errors:
                _log.warning("%d spans cannot be written: %r", len(errors), errors[-1])
            self.left_out = len(errors)
            with self._using:
                rejected = self._deliver(body)
            self.left_out += max(0, min(rejected, len(spans) - len(errors)))
        except Exception as err:
            _log.warning("%d spans were dropped: %s", len(spans), err)
            return SpanExportResult.FAILURE
        finally:
            if self._ended.is_set():
                self._connection.close()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Try nothing again from here on. Idempotent."""
        self._ended.set()
        if self._using.acquire(blocking=False):
            self._connection.close()
            self._using.release()

    def _deliver(self, body: bytes) -> int:
        """How many spans the collector has rejected, as it says."""
        headers = dict(self._headers)
        if len(body) > _SMALL:
            body, headers["Content-Encoding"] = gzip.compress(body, 3, mtime=0), "gzip"
        until, wait = time.monotonic() + self._patience, _FIRST_WAIT
        while True:
            try:
                return self._post(body, headers)
            except _Later as err:
                pause = max(err.wait, wait * random.uniform(0.8, 1.2))
                if time.monotonic() + pause > until or self._ended.wait(pause):
                    raise
            wait = min(wait * 2, _LONGEST_WAIT)

    def _post(self, body: bytes, headers: Mapping[str, str]) -> int:
        """One try; as of `_deliver`. Raises _Refused or _Later."""
        kept = self._connection.sock is not None
        try:
            status, wait, said = self._ask(body, headers)
        except (OSError, http.client.HTTPException) as err:
            self._connection.close()
            if kept and isinstance(err, ConnectionError):  # it had closed the idle connection
                return self._post(body, headers)
            why = str(err)[:_SAID] or type(err).__name__
            raise _Later(f"the collector cannot be reached: {why}") from err
        except ValueError as err:  # its text may be a header's value, which is a secret
            self._connection.close()
            what = type(err).__name__
            raise _Refused(f"the request cannot be written: {what}; look at the headers") from None
        if 200 <= status < 300:
            return self._read(said)
        if status in _AGAIN:
            raise _Later(f"the collector answered {status}", _seconds(wait))
        raise _Refused(f"the collector answered {status}")

    def _ask(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        """The answer: its status, Retry-After and body."""
        self._connection.request("POST", self._path, body, dict(headers))
        answer = self._connection.getresponse()
        said = answer.read(_MOST_ANSWER)
        if not answer.isclosed():  # more than anybody will read
            self._connection.close()
        return answer.status, answer.getheader("Retry-After", ""), said

    def _read(self, answer: bytes) -> int:
        """A partial success is not tried again, as the specification says."""
        try:
            part = json.loads(answer)["partialSuccess"]
            count, why = int(part.get("rejectedSpans", 0)), str(part.get("errorMessage", ""))
        except Exception:  # it may be anything; then it says nothing of that
            return 0
        if count > 0:
            _log.warning("the collector rejected %d spans: %s", count, why[:_SAID])
        return count


def _seconds(retry_after: str) -> float:
    """Retry-After as seconds from now (RFC 9110 section 10.2.3); of a date 0."""
    return float(retry_after[:9]) if retry_after.isascii() and retry_after.isdigit() else 0.0


def address(endpoint: str) -> SplitResult:
    """Its parts. Raises ConfigError (F200) where it is none."""
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
