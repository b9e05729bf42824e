"""Ended spans, gathered and handed to an exporter on a thread of their own, within bounds.

Nobody who ends a span waits for a collector: what finds no room is counted.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from weakref import WeakSet

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_ROOM = 8192  # spans that wait
_BATCH = 512
_GATHER = 1.0  # seconds that a span may wait for others
_PATIENCE = 5.0  # seconds that a shutdown waits
_log = logging.getLogger("forge_min.observe.otlp")


class BatchProcessor(SpanProcessor):
    """The thread `otlp-export`, between the SDK and an exporter.

    dropped: spans by reason: "full" found no room, "failed" no taker, or could not be written,
    "stopped" were not sent before the shutdown's deadline.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._begin()
        self._thread = threading.Thread(target=self._run, name="otlp-export", daemon=True)
        self._thread.start()
        _living.add(self)

    def _begin(self) -> None:
        self._waiting: deque[ReadableSpan] = deque()
        self.dropped = {"full": 0, "failed": 0, "stopped": 0}
        self._counting = threading.RLock()  # LOCK: guards `dropped`; as of RecentTraces
        self._stopping = False
        self._exporting = 0  # spans that the exporter has just been given
        self._gone = 0  # spans that it has dealt with
        self._wanted = 0  # as many of them as somebody waits for
        self._hurry = threading.Event()  # a batch is full, or somebody waits for what there is
        self._sent = threading.Condition()  # LOCK: guards what is counted here but for `dropped`

    def stop_in_child(self) -> None:
        """For a child after a fork, which has no thread to send by: take nothing more. What waits
        is its parent's to send.
        """
        self._begin()
        self._stopping = True

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span. Never waits, never raises."""
        context = span.get_span_context()
        if self._stopping or context is None or not context.trace_flags.sampled:
            return
        size = len(self._waiting)
        if size >= _ROOM:
            self._drop("full", 1)
            return
        self._waiting.append(span)
        if size + 1 >= _BATCH and not self._hurry.is_set():
            self._hurry.set()

    def force_flush(self, timeout_millis: int = int(_PATIENCE * 1000)) -> bool:
        """Wait until what has ended is sent or given up; whether it is."""
        with self._sent:
            wanted = self._gone + self._exporting + len(self._waiting)
            self._wanted = max(self._wanted, wanted)
            self._hurry.set()
            return self._sent.wait_for(
                lambda: self._gone >= wanted or not self._thread.is_alive(), timeout_millis / 1000
            )

    def shutdown(self, timeout: float = _PATIENCE) -> None:
        """Send what waits, at most `timeout` seconds; the rest is counted. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        until = time.monotonic() + timeout
        self._hurry.set()
        self._thread.join(timeout / 2)
        self._exporter.shutdown()  # tries nothing again
        self._thread.join(max(0.0, until - time.monotonic()))
        with self._sent:
            left = self._exporting + len(self._waiting)
            self._waiting.clear()
            self._gone += left
            self._sent.notify_all()
        if left:
            self._drop("stopped", left)
            _log.warning("%d spans were not sent before the end", left)

    def _drop(self, reason: str, count: int) -> None:
        with self._counting:
            self.dropped[reason] += count

    def _run(self) -> None:
        # Libraries that are instrumented make no spans of what an exporter does.
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        while self._waiting or not self._stopping:
            # PERF: once for all of them, not for each that comes (benchmarks/observe).
            hurry = self._stopping or self._gone < self._wanted or len(self._waiting) >= _BATCH
            if not hurry:
                self._hurry.wait(_GATHER)
            self._hurry.clear()  # before they are taken: who comes now sets it again
            with self._sent:
                size = self._exporting = min(len(self._waiting), _BATCH)
                batch = [self._waiting.popleft() for _ in range(size)]
            if batch and (lost := self._export(batch)):
                self._drop("failed", lost)
            with self._sent:
                self._gone, self._exporting = self._gone + size, 0
                self._sent.notify_all()

    def _export(self, batch: list[ReadableSpan]) -> int:
        """How many nobody has got."""
        try:
            taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
            left_out: int = getattr(self._exporter, "left_out", 0)  # by ours
            return left_out if taken else len(batch)
        except Exception:
            _log.exception("%d spans were dropped: the exporter failed", len(batch))
            return len(batch)


_living: WeakSet[BatchProcessor] = WeakSet()


def _after_fork() -> None:
    for batch in list(_living):
        batch.stop_in_child()


os.register_at_fork(after_in_child=_after_fork)
