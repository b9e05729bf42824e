"""Exemplars: whose, how many, and what becomes of them where processes are summed."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
from forge_min.observe import (
    MetricRegistry,
    aggregate,
    counters_only,
    current_traceparent,
    render_metrics,
    snapshot,
    span,
)  # fmt: skip
from forge_min.observe.metrics.metric import LIMIT, OVERFLOW
from forge_min.observe.tracing import current
from prometheus_client.openmetrics.parser import text_string_to_metric_families

BOUNDS = (0.1, 1.0)


def exemplars(metrics: Any) -> dict[tuple[str, tuple[str, ...]], Any]:
    """(name, label values) → exemplar, of the series that have one."""
    families = text_string_to_metric_families(render_metrics(metrics, openmetrics=True).decode())
    return {
        (sample.name, tuple(sample.labels.values())): sample.exemplar
        for family in families
        for sample in family.samples
        if sample.exemplar
    }


def header(trace: int, sampled: bool = True) -> str:
    return f"00-{trace:032x}-{trace + 1:016x}-{sampled:02x}"


def at(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("time.time", lambda: seconds)


def test_each_bucket_has_its_last_sampled_span_with_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = MetricRegistry()
    family = registry.histogram("h", "", ("a",), BOUNDS)
    for trace, value in ((1, 0.05), (2, 0.06), (3, 1.0), (4, 7.0)):
        at(monkeypatch, 100.0 + trace)
        with span("s", parent=header(trace)):
            family.observe(("x",), value)
    found = exemplars(registry)
    told = {key[1][1]: (int(e.labels["trace_id"], 16), e.value, float(e.timestamp))
            for key, e in found.items()}  # fmt: skip
    assert told == {"0.1": (2, 0.06, 102.0), "1.0": (3, 1.0, 103.0), "+Inf": (4, 7.0, 104.0)}
    assert {int(e.labels["span_id"], 16) for e in found.values()} == {3, 4, 5}
    assert b"trace_id" not in render_metrics(registry), "text 0.0.4 has no exemplars"


def test_who_is_in_no_sampled_span_leaves_none() -> None:
    registry = MetricRegistry()
    family = registry.histogram("h", "", (), BOUNDS)
    counter = registry.counter("c_total", "")
    family.observe((), 0.5)
    with span("s", parent=header(1, sampled=False)):
        family.observe((), 0.5)
        counter.count(())
    assert exemplars(registry) == {}


def test_a_recorded_span_is_the_one_that_the_exemplar_names(
    record: Callable[[float], Callable[[], Any]],
) -> None:
    spans = record(1.0)
    registry = MetricRegistry()
    with span("outer"):
        with span("inner"):
            inner = current_traceparent()
            registry.counter("c_total", "").count((), 3)
    (found,) = exemplars(registry).values()
    assert inner == f"00-{found.labels['trace_id']}-{found.labels['span_id']}-01"
    assert found.value == 3
    assert {f"{s.context.span_id:016x}" for s in spans() if s.name == "inner"} == {
        found.labels["span_id"]
    }


def test_a_place_that_is_handed_in_counts_after_its_span_has_ended() -> None:
    registry = MetricRegistry()
    with span("job", parent=header(9)):
        place = current.get()
    registry.histogram("h", "", (), BOUNDS).observe((), 0.5, place)
    (found,) = exemplars(registry).values()
    assert int(found.labels["trace_id"], 16) == 9


def test_labels_of_an_exemplar_keep_within_the_128_characters_of_the_specification() -> None:
    registry = MetricRegistry()
    most = f"00-{'f' * 32}-{'f' * 16}-01"
    with span("s", parent=most):
        registry.counter("c_total", "").count(())
    text = render_metrics(registry, openmetrics=True).decode()
    labels = re.findall(r'(\w+)="(\w+)"', text.partition(" # {")[2])
    assert [name for name, _ in labels] == ["trace_id", "span_id"]
    assert sum(len(name) + len(value) for name, value in labels) == 63


def test_exemplars_are_as_bounded_as_label_sets_are() -> None:
    registry = MetricRegistry()
    family = registry.histogram("h", "", ("a",), BOUNDS)
    with span("s", parent=header(1)):
        for n in range(3 * LIMIT):
            family.observe((str(n),), 0.5)
    found = exemplars(registry)
    assert len(found) == LIMIT + 1
    assert ("h_bucket", (OVERFLOW, "1.0")) in found


def test_over_processes_the_newest_exemplar_of_each_bucket_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = []
    for process, rows in ((1, {0.05: 10, 0.5: 40}), (2, {0.05: 30, 7.0: 20}), (3, {})):
        registry = MetricRegistry()
        family = registry.histogram("h", "", ("a",), BOUNDS)
        family.observe(("x",), 0.05)
        for value, second in rows.items():
            at(monkeypatch, second)
            with span("s", parent=header(process)):
                family.observe(("x",), value)
        taken.append(pickle.loads(pickle.dumps(snapshot(registry))))
    for order in (taken, taken[::-1]):
        found = exemplars(aggregate(order))
        assert {key[1][1]: float(e.timestamp) for key, e in found.items()} == {
            "0.1": 30.0, "1.0": 40.0, "+Inf": 20.0,
        }  # fmt: skip
    gone = counters_only(aggregate(taken[:2]))
    assert exemplars(aggregate([gone, taken[2]])) == exemplars(aggregate(taken))
    assert b'h_count{a="x"} 7\n' in render_metrics(aggregate([gone, taken[2]]), openmetrics=True)
