"""Telemetry of one test: the SDK with its in-memory exporter; Prometheus's own checker."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence

import pytest
from forge_min import observe
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

Spans = Callable[[], Sequence[ReadableSpan]]


@pytest.fixture
def record() -> Iterator[Callable[[float], Spans]]:
    """record(sample_ratio) starts telemetry and gives a function that returns the ended spans."""
    started = []

    def start(sample_ratio: float) -> Spans:
        exporter = InMemorySpanExporter()
        telemetry = observe.setup("tests", sample_ratio=sample_ratio, exporter=exporter)
        started.append(telemetry)

        def spans() -> Sequence[ReadableSpan]:
            assert telemetry.tracer_provider.force_flush()
            return exporter.get_finished_spans()

        return spans

    yield start
    for telemetry in started:
        telemetry.shutdown()


@pytest.fixture
def spans(record: Callable[[float], Spans]) -> Spans:
    """Everything is sampled."""
    return record(1.0)


@pytest.fixture
def promtool() -> Callable[..., subprocess.CompletedProcess[str]]:
    """promtool(*arguments, given=b"") runs Prometheus's own checker."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool (Debian: prometheus)")

    def run(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run([program, *arguments], input=given, capture_output=True, timeout=60)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run
