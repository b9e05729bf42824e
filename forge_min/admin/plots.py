"""Plots of the last minutes as inline SVG. Knows points, and nothing of where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, floor, log10
from typing import NamedTuple

from ..wsgi import Raw, join, tag
from .history import KEPT, PERIOD, Point

_WIDTH, _HEIGHT = 300, 80
_STATES = ("available", "running", "scheduled", "retryable", "discarded")

Values = Sequence[float | None]


class Line(NamedTuple):
    """One line of a plot. look: its class in admin.css. None in it: nothing is known there."""

    name: str
    look: str
    values: Values


def plots(points: Sequence[Point]) -> Raw:
    """All of them, as one element."""
    requests = [
        Line("all", "a", [p.requests for p in points]),
        Line("5xx", "bad", [p.failed for p in points]),
    ]
    latency = [
        Line("p50", "a", [_milli(p.p50) for p in points]),
        Line("p99", "b", [_milli(p.p99) for p in points]),
    ]
    ended = [
        Line("completed", "a", [p.jobs_done for p in points]),
        Line("failed", "bad", [p.jobs_failed for p in points]),
    ]
    looks = ("a", "b", "c", "d", "bad")
    states = [
        Line(state, look, [None if p.states is None else p.states.get(state, 0.0) for p in points])
        for state, look in zip(_STATES, looks)
    ]
    open_ones = [
        Line("HTTP", "a", [p.connections for p in points]),
        Line("streams", "b", [p.streams for p in points]),
    ]
    processor = [Line("all processes", "a", [100 * p.processor for p in points])]
    return tag("div", join([
        plot("Requests", "per second", requests), plot("Latency", "ms", latency),
        plot("Jobs ended", "per second", ended), plot("Jobs", "by state", states),
        plot("Connections", "open", open_ones), plot("Processor", "% of one", processor),
    ]), class_="plots")  # fmt: skip


def plot(title: str, unit: str, lines: Sequence[Line]) -> Raw:
    """A figure: the lines, and in words what each is at."""
    most = _ceiling(max((v for line in lines for v in line.values if v is not None), default=0.0))
    now = [(line, line.values[-1] if line.values else None) for line in lines]
    told = f"{title}, {unit}, now: " + ", ".join(f"{ln.name} {_number(v)}" for ln, v in now)
    marks = [
        tag("li", join([tag("span", line.name, class_=f"mark {line.look}"), " ",
                        tag("b", _number(value))]))
        for line, value in now
    ]  # fmt: skip
    shapes = "".join(shape for line in reversed(lines) for shape in _shapes(line, most))
    middle = _HEIGHT // 2
    drawing = tag("svg", Raw(
        f'{tag("title", told)}<path class="grid" d="M0 .5H{_WIDTH}M0 {middle}H{_WIDTH}"/>'
        f'<path class="base" d="M0 {_HEIGHT - 0.5}H{_WIDTH}"/>{shapes}'
    ), viewBox=f"0 0 {_WIDTH} {_HEIGHT}", preserveAspectRatio="none", role="img",
        aria_label=told)  # fmt: skip
    minutes = round(PERIOD * KEPT / 60)
    return tag("figure", join([
        tag("figcaption", join([tag("strong", title), " ", tag("small", unit)])),
        tag("div", join([tag("span", _number(most), class_="most"), drawing]), class_="drawing"),
        tag("div", join([tag("span", f"{minutes} min ago"), tag("span", "now")]), class_="axis"),
        tag("ul", join(marks)),
    ]), class_="card plot")  # fmt: skip


def _shapes(line: Line, most: float) -> Iterator[str]:
    """A path for each stretch without gaps; a value between two gaps is a dot."""
    step, start = _WIDTH / (KEPT - 1), KEPT - len(line.values)
    stretch: list[str] = []
    for index, value in enumerate([*line.values, None], start):
        if value is not None:
            y = _HEIGHT - 1 - value / most * (_HEIGHT - 3)
            stretch.append(f"{index * step:.1f} {y:.1f}")
        elif stretch:
            dot = "h.1" if len(stretch) == 1 else ""
            yield f'<path class="line {line.look}" d="M{"L".join(stretch)}{dot}"/>'
            stretch = []


def _ceiling(most: float) -> float:
    """The next of 1, 2, 5, 10, 20 …: an axis that does not change with each value."""
    if most <= 0:
        return 1.0
    power = 10.0 ** floor(log10(most))
    return power * next(step for step in (1, 2, 5, 10) if most <= power * step * (1 + 1e-9))


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if value >= 100 or value == int(value):
        return f"{ceil(value - 0.5):,}"
    return f"{value:.2g}" if value < 10 else f"{value:.1f}"


def _milli(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
