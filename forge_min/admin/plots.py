"""Plots of the last minutes as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, floor, log10
from types import SimpleNamespace as Item
from typing import NamedTuple

from ..wsgi import Raw
from .history import KEPT, PERIOD, STATES, Point
from .templates import plots as page

_WIDTH, _HEIGHT = 300, 80  # as in plots.html
_STATES = dict(zip(STATES, ("a", "b", "c", "d", "bad"), strict=True))
# title, unit, factor, name of each line → style, name in Point
_PLOTS = (
    ("Requests", "per second", 1, {"all": ("a", "requests"), "5xx": ("bad", "failed")}),
    ("Latency", "ms", 1000, {"p50": ("a", "p50"), "p99": ("b", "p99")}),
    (
        "Jobs ended",
        "per second",
        1,
        {"completed": ("a", "jobs_done"), "failed": ("bad", "jobs_failed")},
    ),
    ("Jobs", "by state", 1, {state: (style, state) for state, style in _STATES.items()}),
    ("Connections", "open", 1, {"HTTP": ("a", "connections"), "streams": ("b", "streams")}),
    ("Processor", "% of one", 100, {"all processes": ("a", "processor")}),
)


class Series(NamedTuple):
    """One line of a plot.

    style: defined in admin.css.
    values: None if a value is unknown.
    """

    name: str
    style: str
    values: Sequence[float | None]


def plots(points: Sequence[Point]) -> Raw:
    """Return all plots as one element."""
    shown = []
    for title, unit, factor, lines in _PLOTS:
        series = [
            Series(name, style, [v and v * factor for v in (point[key] for point in points)])
            for name, (style, key) in lines.items()
        ]
        shown.append(plot(title, unit, series))
    return Raw(page.render(plots=shown, minutes=round(PERIOD * KEPT / 60)))


def plot(title: str, unit: str, lines: Sequence[Series]) -> Item:
    """Return the values of a plot for plots.html: its lines, and the current values as text."""
    most = _ceiling(max((v for line in lines for v in line.values if v is not None), default=0.0))
    now = [
        Item(name=line.name, style=line.style, now=_number(next(reversed(line.values), None)))
        for line in lines
    ]
    return Item(
        title=title,
        unit=unit,
        most=_number(most),
        summary=f"{title}, {unit}, now: " + ", ".join(f"{line.name} {line.now}" for line in now),
        lines=now,
        paths=[
            Item(style=line.style, shape=shape)
            for line in reversed(lines)
            for shape in _shapes(line, most)
        ],
    )


def _shapes(line: Series, most: float) -> Iterator[str]:
    """Yield the `d` of a path per stretch without gaps; a value between two gaps is a dot."""
    step, start = _WIDTH / (KEPT - 1), KEPT - len(line.values)
    stretch: list[str] = []
    for index, value in enumerate([*line.values, None], start):
        if value is not None:
            y = _HEIGHT - 1 - value / most * (_HEIGHT - 3)
            stretch.append(f"{index * step:.1f} {y:.1f}")
        elif stretch:
            dot = "h.1" if len(stretch) == 1 else ""
            yield f"M{'L'.join(stretch)}{dot}"
            stretch = []


def _ceiling(most: float) -> float:
    """Return the next of 1, 2, 5, 10, 20 …, for an axis that seldom changes."""
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
