"""What the plots are made of: rates and quantiles between two looks at the registry."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from forge_min.admin.history import KEPT, SERIES, STATES, Figures, History, quantile
from forge_min.admin.plots import Series, plot, plots
from forge_min.admin.templates import plots as page
from forge_min.app.telemetry import Metrics
from forge_min.observe import MetricRegistry, snapshot


class Counted:
    """A registry as a site has it, and what the plots read of it."""

    def __init__(self) -> None:
        self.metrics = Metrics(MetricRegistry(), {})
        self.open = 0.0
        self.jobs: dict[tuple[str, str], float] | None = {}
        self.metrics.watch("forge_http_connections", lambda: self.open)
        self.metrics.watch("forge_http_connections_limit", lambda: 100)

    def __call__(self) -> Figures:
        return snapshot(self.metrics.registry, SERIES), self.jobs


def test_a_point_is_what_happened_between_two_looks() -> None:
    site = Counted()
    history = History(site)
    history.record(100.0)
    assert history.points() == []
    for _ in range(90):
        site.metrics.request_done("GET", "/a", 200, 0.004)
    for _ in range(10):
        site.metrics.request_done("POST", "/b", 503, 0.4)
    site.open, site.jobs = 7, {("mail", "available"): 3, ("default", "available"): 2}
    history.record(102.0)
    (point,) = history.points()
    assert (point["requests"], point["failed"]) == (50.0, 5.0)
    assert point["p50"] is not None and 0.0025 <= point["p50"] <= 0.005
    assert point["p99"] is not None and 0.25 <= point["p99"] <= 0.5
    assert (point["connections"], point["available"], point["running"]) == (7, 5, 0)
    site.jobs = None
    history.record(104.0)
    quiet = history.points()[-1]
    assert quiet["requests"] == 0.0
    assert {quiet[name] for name in ("p50", "p99", *STATES)} == {None}


def test_counts_of_a_process_that_ended_make_no_negative_rate() -> None:
    sites = [Counted(), Counted()]
    for _ in range(50):
        sites[0].metrics.request_done("GET", "/a", 200, 0.01)
    history = History(lambda: sites[0]())
    history.record(0.0)
    sites.reverse()
    history.record(2.0)
    (point,) = history.points()
    assert (point["requests"], point["p99"]) == (0.0, None)


def test_the_past_has_a_bound() -> None:
    history = History(Counted())
    for second in range(3 * KEPT):
        history.record(float(second))
    assert len(history.points()) == KEPT


def test_the_thread_goes_on_after_an_error_and_ends_with_stop(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forge_min.admin.history.PERIOD", 0.01)
    looks, enough = [0], threading.Event()

    def figures() -> Figures:
        looks[0] += 1
        if looks[0] == 1:
            raise RuntimeError("not now")
        if looks[0] > 3:
            enough.set()
        return [], None

    history = History(figures)
    with caplog.at_level(logging.ERROR):
        history.start()
        history.start()
        assert enough.wait(10)
        history.stop(10.0)
        history.stop()
    assert "could not be read" in caplog.text and history.points()
    assert "admin-history" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("q", "counts", "expected"),
    [(0.5, [10, 0, 0], 0.5), (0.5, [0, 10, 0], 1.5), (1.0, [1, 1, 0], 2.0), (0.99, [0, 0, 5], 2.0),
     (0.5, [0, 0, 0], None), (0.25, [2, 2, 0], 0.5)],
)  # fmt: skip
def test_a_quantile_is_even_within_its_bucket(
    q: float, counts: list[float], expected: float | None
) -> None:
    found = quantile(q, (1.0, 2.0), counts)
    assert found == (None if expected is None else pytest.approx(expected))


# -- their pictures --------------------------------------------------------------------------------

Parse = Callable[[str], Any]


def draw(title: str, unit: str, lines: list[Series]) -> ElementTree.Element:
    """The page's figure of one plot."""
    return ElementTree.fromstring(page.render(plots=[plot(title, unit, lines)], minutes=5))


def test_a_gap_parts_a_line_and_a_lone_value_is_a_dot() -> None:
    values = [1.0, 2.0, None, 3.0, None]
    figure = draw("A & B", "<unit>", [Series("x", "a", values)])
    paths = [p.get("d", "") for p in figure.iter("path") if "line" in p.get("class", "")]
    assert [path.count("L") for path in paths] == [1, 0] and paths[1].endswith("h.1")
    drawing = figure.find(".//svg")
    assert drawing is not None and drawing.get("aria-label") == "A & B, <unit>, now: x –"


@pytest.mark.parametrize(
    ("most", "shown"),
    [(0, "1"), (0.9, "1"), (1, "1"), (3, "5"), (99, "100"), (101, "200"), (12e6, "20,000,000")],
)
def test_an_axis_ends_at_a_round_number(most: float, shown: str) -> None:
    figure = draw("t", "u", [Series("x", "a", [most])])
    (label,) = (s for s in figure.iter("span") if s.get("class") == "most")
    assert label.text == shown


def test_every_line_stays_inside_its_drawing() -> None:
    point = {
        **dict.fromkeys(STATES, None),
        **dict.fromkeys(("failed", "jobs_done", "jobs_failed", "connections", "streams"), 3.0),
        "requests": 1e9,
        "p50": None,
        "p99": 1e-9,
        "running": 5.0,
        "processor": 0.5,
    }
    for points in ([], [point], [point] * KEPT):
        for path in ElementTree.fromstring(str(plots(points))).iter("path"):
            if "line" in path.get("class", ""):
                pairs = path.get("d", "").removesuffix("h.1")[1:].split("L")
                for x, y in (pair.split() for pair in pairs):
                    assert 0 <= float(x) <= 300 and 0 <= float(y) <= 80
