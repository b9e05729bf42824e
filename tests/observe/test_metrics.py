"""The registry and its Prometheus text."""

from __future__ import annotations

import gc
import os
import re
import resource
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial

import pytest
from forge_min.observe import (
    MetricRegistry,
    add_process_metrics,
    aggregate,
    render_metrics,
    snapshot,
)
from forge_min.observe.metrics.metric import OVERFLOW
from hypothesis import given
from hypothesis import strategies as st

LINE = re.compile(
    r'(?P<name>[a-zA-Z_:][\w:]*)(\{(?P<labels>(\w+="([^"\\\n]|\\[\\n"])*",?)*)\})? (?P<value>\S+)'
)
SHOWS_METRICS = """
import sys
from forge_min.observe import MetricRegistry, add_process_metrics, render_metrics
registry = MetricRegistry()
add_process_metrics(registry)
sys.stdout.buffer.write(render_metrics(registry))
"""
LABEL = re.compile(r'(\w+)="((?:[^"\\\n]|\\[\\n"])*)"')


def read(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """An independent reader of the format: every line must match its grammar."""
    series = {}
    for line in text.decode().split("\n")[:-1]:
        if line.startswith("#"):
            assert re.match(r"# (HELP|TYPE) [a-zA-Z_:][\w:]* ", line), line
            continue
        match = LINE.fullmatch(line)
        assert match, line
        labels = tuple((n, unescape(v)) for n, v in LABEL.findall(match["labels"] or ""))
        key = (match["name"], labels)
        assert key not in series, line
        series[key] = float(match["value"])
    return series


def unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text)


def test_counters_gauges_and_histograms_are_rendered_exactly() -> None:
    registry = MetricRegistry()
    registry.counter("b_total", "Counted.", ("kind",)).labels("x").inc(2)
    registry.gauge("a", "Stands.", callback=lambda: 1.5)
    times = registry.histogram("c_seconds", "Takes.", ("route",), (0.1, 1))
    for seconds in (0.05, 0.1, 0.5, 9):
        times.labels("/x").observe(seconds)
    assert render_metrics(registry).decode() == (
        "# HELP a Stands.\n# TYPE a gauge\na 1.5\n"
        '# HELP b_total Counted.\n# TYPE b_total counter\nb_total{kind="x"} 2\n'
        "# HELP c_seconds Takes.\n# TYPE c_seconds histogram\n"
        'c_seconds_bucket{route="/x",le="0.1"} 2\n'
        'c_seconds_bucket{route="/x",le="1"} 3\n'
        'c_seconds_bucket{route="/x",le="+Inf"} 4\n'
        'c_seconds_sum{route="/x"} 9.65\n'
        'c_seconds_count{route="/x"} 4\n'
        "# HELP forge_metrics_overflow_total Label sets beyond the limit of their metric, "
        "counted as _other.\n# TYPE forge_metrics_overflow_total counter\n"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (0.1, "0.1"),
     (1e300, "1e+300"), (3.0, "3"), (-0.0, "0"), (2**53, "9007199254740992.0")],
)  # fmt: skip
def test_numbers_are_written_as_the_format_asks(value: float, text: str) -> None:
    registry = MetricRegistry()
    registry.gauge("g", "", callback=lambda: value)
    assert f"\ng {text}\n" in render_metrics(registry).decode()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text())
def test_any_label_value_and_help_survive(value: str, help: str) -> None:
    registry = MetricRegistry()
    registry.counter("c", help, ("l",)).labels(value).inc()
    assert read(render_metrics(registry))[("c", (("l", value),))] == 1


def test_what_is_no_unicode_does_not_break_the_scrape() -> None:
    registry = MetricRegistry()
    registry.counter("c", "", ("l",)).labels("\ud800").inc()
    assert ("c", (("l", r"\ud800"),)) in read(render_metrics(registry))


def test_texts_that_are_written_alike_are_one_series_wherever_they_come_from() -> None:
    registry = MetricRegistry()
    family = registry.counter("c", "", ("l",))
    for text in ("\udc80", "\\udc80", "\udc80"):
        family.labels(text).inc()
        family.count((text,))
    registry.gauge("g", "", ("l",), callback=lambda: {("\udc80",): 1, ("\\udc80",): 2})
    registry.info("i_info", "\udc80", {"l": "\udc80"})
    series = read(render_metrics(registry))
    assert series[("c", (("l", r"\udc80"),))] == 6 and series[("g", (("l", r"\udc80"),))] == 3
    assert series[("i_info", (("l", r"\udc80"),))] == 1


def test_label_sets_are_bounded_and_the_overflow_is_counted() -> None:
    registry = MetricRegistry()
    family = registry.counter("c", "", ("path",))
    for n in range(100_000):
        family.labels(f"/{n}").inc()
    series = {k: v for k, v in read(render_metrics(registry)).items() if k[0] == "c"}
    assert len(series) == 1001
    assert sum(series.values()) == 100_000
    assert series[("c", (("path", OVERFLOW),))] == 99_000
    key = ("forge_metrics_overflow_total", (("metric", "c"),))
    assert read(render_metrics(registry))[key] == 99_000


def test_label_sets_of_a_callback_that_find_no_place_are_counted_once() -> None:
    registry = MetricRegistry()
    told = {(f"/{n}",): 1.0 for n in range(1_500)}
    registry.gauge("g", "", ("path",), callback=lambda: told)
    key = ("forge_metrics_overflow_total", (("metric", "g"),))
    read(render_metrics(registry))
    assert read(render_metrics(registry))[key] == 500
    told.pop(("/3",))
    assert [read(render_metrics(registry))[key] for _ in range(2)] == [500, 500], "a counter"
    assert read(render_metrics(registry))[("g", (("path", OVERFLOW),))] == 499


def test_values_that_look_the_same_are_one_series() -> None:
    registry = MetricRegistry()
    family = registry.counter("c", "", ("status",))
    family.labels("200").inc()
    family.labels(200).inc()  # type: ignore[arg-type]
    family.labels(True).inc()  # type: ignore[arg-type]
    family.labels(1).inc()  # type: ignore[arg-type]
    series = {k[1]: v for k, v in read(render_metrics(registry)).items() if k[0] == "c"}
    assert series == {(("status", "200"),): 2, (("status", "True"),): 1, (("status", "1"),): 1}


def test_threads_that_meet_a_new_label_set_get_one_cell() -> None:
    registry = MetricRegistry()
    family = registry.counter("c", "", ("n",))
    start = threading.Barrier(8)

    def work() -> None:
        start.wait(10)
        for n in range(500):
            family.labels(str(n)).inc()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    series = [v for k, v in read(render_metrics(registry)).items() if k[0] == "c"]
    assert series == [8.0] * 500


def test_callbacks_are_asked_at_each_scrape_and_a_failing_one_spoils_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = MetricRegistry()
    values = iter((1.0, 2.0))
    registry.gauge("a", "", callback=lambda: next(values))
    registry.counter("b", "", ("q",), callback=lambda: {("x",): 3, ("y",): 4})
    registry.gauge("z", "", callback=lambda: 9)
    assert read(render_metrics(registry))[("a", ())] == 1
    series = read(render_metrics(registry))
    assert series[("b", (("q", "y"),))] == 4
    series = read(render_metrics(registry))
    assert ("a", ()) not in series and series[("z", ())] == 9
    assert "metric a failed" in caplog.text


def test_asking_again_gives_the_same_family_and_another_shape_is_refused() -> None:
    registry = MetricRegistry()
    family = registry.counter("c", "", ("a",))
    assert registry.counter("c", "", ("a",)) is family
    with pytest.raises(ValueError, match="another kind"):
        registry.counter("c", "", ("b",))
    with pytest.raises(ValueError, match="another kind"):
        registry.gauge("c", "", ("a",), callback=lambda: 0)
    with pytest.raises(ValueError, match="labels"):
        family.labels("x", "y")
    with pytest.raises(ValueError, match="labels"):
        family.labels()


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "ä", "a\n"])
def test_names_that_prometheus_refuses_are_refused(name: str) -> None:
    with pytest.raises(ValueError):
        MetricRegistry().counter(name, "")
    with pytest.raises(ValueError):
        MetricRegistry().counter("ok", "", (name,))


@pytest.mark.parametrize("bounds", [(), (2, 1), (1, 1)])
def test_bounds_must_ascend(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        MetricRegistry().histogram("h", "", (), bounds)


def test_a_histograms_label_may_not_be_le_and_none_may_begin_with_two_underscores() -> None:
    with pytest.raises(ValueError):
        MetricRegistry().histogram("h", "", ("le",))
    with pytest.raises(ValueError):
        MetricRegistry().counter("h", "", ("__x",))


def test_no_label_is_named_twice() -> None:
    gauge = partial(MetricRegistry().gauge, callback=lambda: 0)
    for add in (MetricRegistry().counter, gauge, MetricRegistry().histogram):
        with pytest.raises(ValueError, match="twice"):
            add("x", "", ("a", "b", "a"))


def test_the_start_of_the_process_is_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = MetricRegistry()
    add_process_metrics(registry)
    key = ("process_start_time_seconds", ())
    started = read(render_metrics(registry))[key]
    monkeypatch.setattr("time.time", lambda: started + 1e6)
    assert read(render_metrics(registry))[key] == started


def test_of_several_processes_the_descriptors_are_those_of_the_one_nearest_to_its_limit() -> None:
    registry = MetricRegistry()
    add_process_metrics(registry)
    quiet = snapshot(registry)
    with ExitStack() as files:
        for _ in range(50):
            files.enter_context(open(os.devnull))
        busy = snapshot(registry)
    for several in ([quiet, busy, quiet], [busy, quiet, quiet]):
        series = read(render_metrics(aggregate(several)))
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert series[("process_max_fds", ())] == limit
        alone = read(render_metrics(busy))
        assert series[("process_open_fds", ())] == alone[("process_open_fds", ())] >= 50
        assert series[("process_threads", ())] == 3 * alone[("process_threads", ())]


def test_the_process_tells_of_itself() -> None:
    registry = MetricRegistry()
    add_process_metrics(registry)
    gc.collect()
    series = read(render_metrics(registry))
    assert series[("process_resident_memory_bytes", ())] > 1e6
    assert series[("process_open_fds", ())] >= 3
    assert series[("process_cpu_seconds_total", ())] > 0
    assert series[("python_gc_collections_total", (("generation", "2"),))] >= 1


def test_the_start_of_a_process_lies_between_before_and_after() -> None:
    before = time.time()
    shown = subprocess.run([sys.executable, "-c", SHOWS_METRICS], capture_output=True, check=True)
    started = read(shown.stdout)[("process_start_time_seconds", ())]
    tick = 0.1  # of the kernel's clock, and of the time that it was started
    assert before - tick <= started <= time.time() + tick
