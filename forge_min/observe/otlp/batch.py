"""Ended spans, gathered and handed to an exporter on a thread of their own, within bounds.

Nobody who ends a span waits for a collector: what finds no room is counted.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from weakref import WeakSet

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_ROOM = 8192  # spans that wait
_BATCH = 512
_GATHER = 1.0  # seconds that a span may wait for others
_PATIENCE = 5.0  # seconds that a shutdown waits
_log = logging.getLogger("forge_min.observe.otlp")


class Batch(SpanProcessor):
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
        # An event is somebody who waits until what came before it is sent.
        self._waiting: SimpleQueue[ReadableSpan | threading.Event] = SimpleQueue()
        self.dropped = {"full": 0, "failed": 0, "stopped": 0}
        self._counting = threading.RLock()  # LOCK: guards `dropped`; as of Recent
        self._stopping = False
        self._exporting = 0  # spans that the exporter has just been given
        self._hurry = threading.Event()  # a batch is full, or somebody waits for what there is
        self._asked: set[threading.Event] = set()  # LOCK: none, its operations are atomic

    def end_in_child(self) -> None:
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
        size = self._waiting.qsize()
        if size >= _ROOM:
            self._drop("full", 1)
            return
        self._waiting.put(span)
        if size + 2 >= _BATCH and not self._hurry.is_set():  # one is in the thread's hand
            self._hurry.set()

    def force_flush(self, timeout_millis: int = int(_PATIENCE * 1000)) -> bool:
        """Wait until what has ended is sent or given up; whether it is."""
        if not self._thread.is_alive():
            return self._waiting.empty()
        done = threading.Event()
        try:
            self._asked.add(done)
            self._waiting.put(done)
            self._hurry.set()
            return done.wait(timeout_millis / 1000)
        finally:
            self._asked.discard(done)

    def shutdown(self, timeout: float = _PATIENCE) -> None:
        """Send what waits, at most `timeout` seconds; the rest is counted. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        until = time.monotonic() + timeout
        self._waiting.put(threading.Event())
        self._hurry.set()
        self._thread.join(timeout / 2)
        self._exporter.shutdown()  # tries nothing again
        self._thread.join(max(0.0, until - time.monotonic()))
        left = self._exporting
        with suppress(Empty):
            while True:
                each = self._waiting.get_nowait()
                if isinstance(each, threading.Event):
                    each.set()
                else:
                    left += 1
        if self._thread.is_alive():
            self._waiting.put(threading.Event())  # to its end, should it come back
        if left:
            self._drop("stopped", left)
            _log.warning("%d spans were not sent before the end", left)

    def _drop(self, reason: str, count: int) -> None:
        with self._counting:
            self.dropped[reason] += count

    def _run(self) -> None:
        # Libraries that are instrumented make no spans of what an exporter does.
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        while not (self._stopping and self._waiting.empty()):
            batch, waiting = self._next()
            if batch and (lost := self._export(batch)):
                self._drop("failed", lost)
            self._exporting = 0
            for done in waiting:
                self._asked.discard(done)
                done.set()

    def _export(self, batch: list[ReadableSpan]) -> int:
        """How many nobody has got."""
        try:
            taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
            left_out: int = getattr(self._exporter, "left_out", 0)  # by ours
            return left_out if taken else len(batch)
        except Exception:
            _log.exception("%d spans were dropped: the exporter failed", len(batch))
            return len(batch)

    def _next(self) -> tuple[list[ReadableSpan], list[threading.Event]]:
        """Those of a second, or as many as one batch holds, and who waits until they are sent."""
        came = [self._waiting.get()]
        if self._waiting.qsize() < _BATCH - 1 and not self._asked and not self._stopping:
            # PERF: once for all of them, not for each that comes (benchmarks/observe).
            self._hurry.wait(_GATHER)
        self._hurry.clear()  # before they are taken: who comes now sets it again
        with suppress(Empty):
            while len(came) < _BATCH:
                came.append(self._waiting.get_nowait())
        batch: list[ReadableSpan] = []
        waiting: list[threading.Event] = []
        for each in came:
            if isinstance(each, threading.Event):
                waiting.append(each)
            else:
                batch.append(each)
        self._exporting = len(batch)
        return batch, waiting


_living: WeakSet[Batch] = WeakSet()


def _after_fork() -> None:
    for batch in list(_living):
        batch.end_in_child()


os.register_at_fork(after_in_child=_after_fork)
