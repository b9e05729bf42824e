"""Both text formats, read back by prometheus_client's parsers, which are strict about them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import pytest
from forge_min.observe import (
    MetricRegistry,
    add_process_metrics,
    render_metrics,
    span,
)
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

render_openmetrics = partial(render_metrics, openmetrics=True)
FORMATS = [(render_metrics, prometheus), (render_openmetrics, openmetrics)]
IDS = ["prometheus", "openmetrics"]
Render = Callable[[MetricRegistry], bytes]
Parse = Callable[[str], Iterable[Metric]]

texts = st.text(st.characters(exclude_categories=["Cs"]))
# The parsers drop blanks around a HELP.
helps = texts.map(str.strip)
SAMPLED = f"00-{'a' * 32}-{'b' * 16}-01"


def read(render: Render, parse: Parse, registry: MetricRegistry) -> dict[str, Metric]:
    """Every family by name, as the parser has it."""
    return {metric.name: metric for metric in parse(render(registry).decode())}


@pytest.mark.parametrize(("render", "parse"), FORMATS, ids=IDS)
@given(value=texts, other=texts, help=helps, number=st.floats())
def test_any_label_help_and_number_comes_back(
    render: Render, parse: Parse, value: str, other: str, help: str, number: float
) -> None:
    registry = MetricRegistry()
    registry.gauge("g", help, ("a", "b"), callback=lambda: {(value, other): number})
    found = read(render, parse, registry)["g"]
    (sample,) = found.samples
    assert (found.type, found.documentation) == ("gauge", help)
    assert sample.labels == {"a": value, "b": other}
    assert sample.value == number or (math.isnan(number) and math.isnan(sample.value))


@pytest.mark.parametrize(("render", "parse"), FORMATS, ids=IDS)
@given(
    value=texts,
    seen=st.lists(st.floats(allow_nan=False)),
    bounds=st.sets(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9),
)
def test_any_histogram_comes_back(
    render: Render, parse: Parse, value: str, seen: list[float], bounds: set[float]
) -> None:
    registry = MetricRegistry()
    family = registry.histogram("h", "", ("a",), sorted(bounds))
    with span("s", parent=SAMPLED):
        for number in seen:
            family.observe((value,), number)
    family.labels(value)
    samples = read(render, parse, registry)["h"].samples
    told = {float(s.labels["le"]): s.value for s in samples if s.name == "h_bucket"}
    limits = [*sorted(bounds), math.inf]
    assert told == {limit: sum(number <= limit for number in seen) for limit in limits}
    exemplars = [(float(s.labels["le"]), s.exemplar) for s in samples if s.exemplar]
    for limit, exemplar in exemplars:
        below = max((low for low in limits if low < limit), default=-math.inf)
        assert exemplar.value in seen and exemplar.value <= limit
        assert exemplar.value > below or below == -math.inf
    wanted = {min(limit for limit in limits if number <= limit) for number in seen}
    assert {limit for limit, _ in exemplars} == (wanted if render is render_openmetrics else set())


@given(value=texts, number=st.floats())
def test_any_counter_comes_back_unless_the_format_forbids_its_number(
    value: str, number: float
) -> None:
    registry = MetricRegistry()
    registry.counter("c_total", "", ("a",), callback=lambda: {(value,): number})
    for render, parse in FORMATS:
        samples = read(render, parse, registry)["c"].samples
        if render is render_openmetrics and not number >= 0:
            assert samples == []
        else:
            (sample,) = samples
            assert sample.name == "c_total" and sample.labels == {"a": value}
            assert sample.value == number or math.isnan(number)


def test_everything_is_rendered_as_openmetrics_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.25)
    registry = MetricRegistry()
    registry.gauge("a", 'One "and\\two\n', callback=lambda: 1.5)
    times = registry.histogram("b_seconds", "Takes.", ("route",), (0.1, 1, 2.5))
    times.observe(("/x",), 0.05)
    with span("s", parent=SAMPLED):
        times.observe(("/x",), 0.5)
        registry.counter("c_bytes_total", "Counted.").count((), 2)
    registry.info("d_info", "Is.", {"version": "1.0"})
    assert render_openmetrics(registry).decode() == (
        '# HELP a One \\"and\\\\two\\n\n# TYPE a gauge\na 1.5\n'
        "# HELP b_seconds Takes.\n# TYPE b_seconds histogram\n# UNIT b_seconds seconds\n"
        'b_seconds_bucket{route="/x",le="0.1"} 1\n'
        'b_seconds_bucket{route="/x",le="1.0"} 2'
        f' # {{trace_id="{"a" * 32}",span_id="{"b" * 16}"}} 0.5 1700000000.250\n'
        'b_seconds_bucket{route="/x",le="2.5"} 2\n'
        'b_seconds_bucket{route="/x",le="+Inf"} 2\n'
        'b_seconds_sum{route="/x"} 0.55\n'
        'b_seconds_count{route="/x"} 2\n'
        "# HELP c_bytes Counted.\n# TYPE c_bytes counter\n# UNIT c_bytes bytes\n"
        f'c_bytes_total 2 # {{trace_id="{"a" * 32}",span_id="{"b" * 16}"}} 2 1700000000.250\n'
        '# HELP d Is.\n# TYPE d info\nd_info{version="1.0"} 1\n'
        "# HELP forge_metrics_overflow Label sets beyond the limit of their metric, "
        "counted as _other.\n# TYPE forge_metrics_overflow counter\n# EOF\n"
    )


@pytest.mark.parametrize(("render", "parse"), FORMATS, ids=IDS)
def test_quotes_backslash_newline_and_emoji_in_one_label(render: Render, parse: Parse) -> None:
    value = 'a"b\\c\nd\\n\\"🛫'
    registry = MetricRegistry()
    registry.counter("c_total", "", ("l",)).labels(value).inc()
    (sample,) = read(render, parse, registry)["c"].samples
    assert sample.labels == {"l": value} and sample.value == 1


@pytest.mark.parametrize(("render", "parse"), FORMATS, ids=IDS)
def test_texts_that_are_no_unicode_stay_apart(render: Render, parse: Parse) -> None:
    registry = MetricRegistry()
    values = {(text,): number for number, text in enumerate(("\udc80", "\udc81", "\ud800", "?"))}
    registry.gauge("g", "help \udcff", ("l",), callback=lambda: values)
    (family,) = [f for f in parse(render(registry).decode()) if f.name == "g"]
    found = {sample.labels["l"]: sample.value for sample in family.samples}
    assert found == {r"\udc80": 0, r"\udc81": 1, r"\ud800": 2, "?": 3}


@pytest.mark.parametrize(("render", "parse"), FORMATS, ids=IDS)
def test_the_series_of_the_process_are_parsed_with_their_types(
    render: Render, parse: Parse
) -> None:
    registry = MetricRegistry()
    add_process_metrics(registry)
    found = read(render, parse, registry)
    kinds = {name: metric.type for name, metric in found.items()}
    assert kinds["process_cpu_seconds"] == "counter"
    assert kinds["process_resident_memory_bytes"] == "gauge"
    assert kinds["python_gc_collections"] == "counter"
    units = {name: metric.unit for name, metric in found.items()}
    if render is render_openmetrics:
        assert units["process_cpu_seconds"] == "seconds"
        assert units["process_open_fds"] == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("c_total", "c"),
        ("c", "c_total"),
        ("c_total", "c_created"),
        ("h_seconds_total", "h_seconds"),
    ],
)
def test_names_that_would_meet_in_openmetrics_are_refused(one: str, other: str) -> None:
    registry = MetricRegistry()
    registry.counter(one, "")
    with pytest.raises(ValueError, match="named as those of"):
        registry.gauge(other, "", callback=lambda: 0)


@pytest.mark.parametrize("suffix", ["_bucket", "_count", "_sum", ""])
def test_nothing_is_named_as_a_series_of_a_histogram(suffix: str) -> None:
    registry = MetricRegistry()
    registry.histogram("h", "")
    with pytest.raises(ValueError):
        registry.gauge("h" + suffix, "", callback=lambda: 0)


def test_an_info_is_called_that() -> None:
    with pytest.raises(ValueError, match="_info"):
        MetricRegistry().info("build", "", {"version": "1"})
