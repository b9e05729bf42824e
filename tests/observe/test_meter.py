"""A reader of OpenTelemetry's SDK sees the registry."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from forge_min.observe import MeterBridge, MetricRegistry, add_process_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Sum


def read(reader: InMemoryMetricReader) -> dict[str, Any]:
    """Metrics by name."""
    data = reader.get_metrics_data()
    scopes = [s for r in data.resource_metrics for s in r.scope_metrics] if data else []
    assert {scope.scope.name for scope in scopes} <= {"forge_min"}
    return {metric.name: metric for scope in scopes for metric in scope.metrics}


def points(metric: Any) -> dict[tuple[str, ...], float]:
    return {tuple(p.attributes.values()): p.value for p in metric.data.data_points}


@pytest.fixture
def registry() -> MetricRegistry:
    made = MetricRegistry()
    made.counter("c_total", "Counted.", ("kind",)).labels("x").inc(2)
    made.gauge("g_bytes", "Stands.", callback=lambda: 1.5)
    times = made.histogram("h_seconds", "Takes.", ("route",), (0.1, 1))
    for seconds in (0.05, 0.5, 9):
        times.labels("/x").observe(seconds)
    made.gauge("called", "", ("q",), callback=lambda: {("a",): 3, ("b",): 4})
    made.info("build_info", "", {"version": "1.0"})
    return made


def test_counters_gauges_and_histograms_are_observable(registry: MetricRegistry) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    MeterBridge(registry, provider)
    found = read(reader)
    assert points(found["c"]) == {("x",): 2}
    assert isinstance(found["c"].data, Sum) and found["c"].data.is_monotonic
    assert points(found["g_bytes"]) == {(): 1.5} and found["g_bytes"].unit == "By"
    assert isinstance(found["g_bytes"].data, Gauge)
    assert points(found["called"]) == {("a",): 3, ("b",): 4}
    assert points(found["build_info"]) == {("1.0",): 1}
    assert points(found["h_seconds_count"]) == {("/x",): 3}
    assert points(found["h_seconds_sum"]) == {("/x",): 9.55}
    assert found["h_seconds_sum"].unit == "s" and found["h_seconds_sum"].description == "Takes."
    assert points(found["h_seconds_bucket"]) == {
        ("/x", "0.1"): 1, ("/x", "1.0"): 2, ("/x", "+Inf"): 3,
    }  # fmt: skip
    registry.counter("c_total", "", ("kind",)).labels("x").inc(5)
    assert points(read(reader)["c"]) == {("x",): 7}, "what is read is what stands now"
    provider.shutdown()


def test_a_closed_bridge_reports_nothing() -> None:
    reader = InMemoryMetricReader()
    registry = MetricRegistry()
    add_process_metrics(registry)
    provider = MeterProvider([reader])
    bridge = MeterBridge(registry, provider)
    found = read(reader)
    assert found["process_cpu_seconds"].unit == "s"
    assert points(found["process_open_fds"])[()] >= 3
    bridge.close()
    assert read(reader) == {}
    provider.shutdown()


def test_the_global_provider_may_be_set_after_setup_and_bridge() -> None:
    """In a process of its own: the API takes one global provider in its life."""
    script = (
        "from forge_min.observe import MeterBridge, MetricRegistry, setup\n"
        "setup('shop')\n"
        "r = MetricRegistry(); r.counter('c_total', '').count((), 4); MeterBridge(r)\n"
        "from opentelemetry import metrics\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "from opentelemetry.sdk.metrics.export import InMemoryMetricReader\n"
        "reader = InMemoryMetricReader(); metrics.set_meter_provider(MeterProvider([reader]))\n"
        "data = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics\n"
        "print([(m.name, m.data.data_points[0].value) for m in data if m.data.data_points])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[('c', 4.0)]\n", done.stderr
