"""A bounded queue of ended spans, exported in batches on a thread of its own.

Code that ends a span never waits for the collector: spans beyond the capacity are counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_CAPACITY = 8192  # queued spans
_BATCH = 512  # spans
_GATHER = 1.0  # seconds that a span may wait for others
_TIMEOUT = 5.0  # seconds that a shutdown waits
log = logging.getLogger("forge_min.observe.otlp")


class BatchProcessor(SpanProcessor):
    """Passes ended spans of the SDK to an exporter, on the thread `otlp-export`.

    The attribute `dropped` counts lost spans by reason: "full": the queue was full. "failed": the
    export failed, or the span could not be encoded. "stopped": not sent before the deadline of the
    shutdown.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._begin()
        self._thread = threading.Thread(target=self._run, name="otlp-export", daemon=True)
        self._thread.start()

    def _begin(self) -> None:
        self._queue: deque[ReadableSpan] = deque()
        self.dropped = {"full": 0, "failed": 0, "stopped": 0}
        self._counting = threading.RLock()  # LOCK: guards `dropped`; reentrant as in RecentTraces
        self._stopping = False
        self._exporting = 0  # spans in the current export
        self._done = 0  # spans exported or dropped
        self._flush_until = 0  # the number of done spans that a flush waits for
        self._wake = threading.Event()  # a batch is full, or a flush waits
        self._sent = threading.Condition()  # LOCK: guards the three counts above

    def stop_in_child(self) -> None:
        """Ignore further spans. For a child after a fork, which has no export thread.

        The parent exports the queued spans.
        """
        self._begin()
        self._stopping = True

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span. Never waits, never raises."""
        context = span.get_span_context()
        if self._stopping or context is None or not context.trace_flags.sampled:
            return
        size = len(self._queue)
        if size >= _CAPACITY:
            self._drop("full", 1)
            return
        self._queue.append(span)
        if size + 1 >= _BATCH and not self._wake.is_set():
            self._wake.set()

    def force_flush(self, timeout_millis: int = int(_TIMEOUT * 1000)) -> bool:
        """Wait until all ended spans are exported or dropped; return whether they are."""
        with self._sent:
            number = self._done + self._exporting + len(self._queue)
            self._flush_until = max(self._flush_until, number)
            self._wake.set()
            return self._sent.wait_for(
                lambda: self._done >= number or not self._thread.is_alive(), timeout_millis / 1000
            )

    def shutdown(self, timeout: float = _TIMEOUT) -> None:
        """Export queued spans, for at most `timeout` seconds, and count the rest. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        until = time.monotonic() + timeout
        self._wake.set()
        self._thread.join(timeout / 2)
        self._exporter.shutdown()  # ends its retries
        self._thread.join(max(0.0, until - time.monotonic()))
        with self._sent:
            unsent = self._exporting + len(self._queue)
            self._queue.clear()
            self._done += unsent
            self._sent.notify_all()
        if unsent:
            self._drop("stopped", unsent)
            log.warning("%d spans were not exported before the shutdown", unsent)

    def _drop(self, reason: str, count: int) -> None:
        with self._counting:
            self.dropped[reason] += count

    def _run(self) -> None:
        # Instrumented libraries make no spans of the exporter's own requests.
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        while self._queue or not self._stopping:
            # PERF: wakes up once per batch, not for each span (benchmarks/observe).
            urgent = self._stopping or self._done < self._flush_until or len(self._queue) >= _BATCH
            if not urgent:
                self._wake.wait(_GATHER)
            self._wake.clear()  # before spans are taken: a later span sets it again
            with self._sent:
                size = self._exporting = min(len(self._queue), _BATCH)
                batch = [self._queue.popleft() for _ in range(size)]
            if batch:
                self._export(batch)
            with self._sent:
                self._done += size
                self._exporting = 0
                self._sent.notify_all()

    def _export(self, batch: list[ReadableSpan]) -> None:
        """Export a batch, and count the lost spans."""
        lost = len(batch)
        try:
            if self._exporter.export(batch) is SpanExportResult.SUCCESS:
                lost = getattr(self._exporter, "left_out", 0)  # an OTLPExporter has it
        except Exception:
            log.exception("%d spans were dropped: the exporter failed", lost)
        if lost:
            self._drop("failed", lost)
