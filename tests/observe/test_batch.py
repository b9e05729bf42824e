"""The thread that gathers ended spans: nobody who asks for what waits is kept by its gathering."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from forge_min.observe.otlp import batch as module
from forge_min.observe.otlp.batch import BatchProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult


class Kept(SpanExporter):
    """Keeps the names of each batch."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.goes = threading.Event()
        self.goes.set()

    def export(self, spans: Any) -> SpanExportResult:
        assert self.goes.wait(10)
        self.batches.append([span.name for span in spans])
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass

    @property
    def names(self) -> list[str]:
        return [name for batch in self.batches for name in batch]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> tuple[BatchProcessor, Kept, Any]:
    """A batch that would gather for ten minutes, its exporter, and who makes spans."""
    monkeypatch.setattr(module, "_GATHER", 600.0)
    kept = Kept()
    batch = BatchProcessor(kept)
    provider = TracerProvider()
    provider.add_span_processor(batch)
    return batch, kept, provider.get_tracer("test")


def test_a_flush_beside_others_gets_all_that_ended_before_it(patient: Any) -> None:
    batch, kept, tracer = patient

    def work(worker: int) -> None:
        for turn in range(150):
            name = f"{worker}.{turn}"
            tracer.start_span(name).end()
            if turn % 3 == 0:
                assert batch.force_flush(5000), "it waited for others"
                assert name in kept.names
            if turn % 7 == 0:
                time.sleep(0.001)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert batch.force_flush(5000)
    assert Counter(kept.names) == Counter(f"{w}.{t}" for w in range(6) for t in range(150))
    batch.shutdown()


def test_a_full_batch_waits_for_nobody_and_a_shutdown_for_none_to_fill(patient: Any) -> None:
    batch, kept, tracer = patient
    for number in range(1500):
        tracer.start_span(str(number)).end()
    until = time.monotonic() + 10
    while len(kept.names) < 1024 and time.monotonic() < until:
        time.sleep(0.01)
    sizes = [len(each) for each in kept.batches]
    assert sizes[0] == 512 and sum(sizes) >= 1024 and len(sizes) < 6, "the first one was full"
    batch.shutdown()
    assert kept.names == [str(number) for number in range(1500)]
    assert "otlp-export" not in [thread.name for thread in threading.enumerate()]
    assert sum(batch.dropped.values()) == 0


def test_a_flush_gets_what_lies_behind_a_full_batch(patient: Any) -> None:
    batch, kept, tracer = patient
    kept.goes.clear()
    for number in range(512):
        tracer.start_span(str(number)).end()
    while batch._queue:  # until these are being exported
        time.sleep(0.001)
    for number in range(512, 1200):
        tracer.start_span(str(number)).end()
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(batch.force_flush, 5000)
        while not batch._flush_until:
            time.sleep(0.001)
        kept.goes.set()
        assert flushed.result(timeout=10)
    assert len(kept.names) == 1200
    batch.shutdown()


def test_a_flush_beside_a_shutdown_that_gives_up_does_not_wait_on(patient: Any) -> None:
    batch, kept, tracer = patient
    kept.goes.clear()
    for number in range(513):
        tracer.start_span(str(number)).end()
    until = time.monotonic() + 10
    while len(batch._queue) > 1 and time.monotonic() < until:  # the rest is being exported
        time.sleep(0.001)
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(batch.force_flush, 60_000)
        while not batch._flush_until:
            time.sleep(0.001)
        batch.shutdown(0.2)
        flushed.result(timeout=10)
    assert batch.dropped["stopped"] == 513
    kept.goes.set()
    batch._thread.join(10)
    assert not batch._thread.is_alive() and batch.force_flush(100)
