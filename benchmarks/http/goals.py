"""One figure beside its goal: the line that is printed for it, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Figure(NamedTuple):
    """A measured value.

    goal: "" if there is none.
    note: printed behind it.
    """

    name: str
    value: float
    unit: str
    goal: str = ""
    met: bool = True
    note: str = ""

    def __str__(self) -> str:
        goal = f"{self.goal} {self.unit}" if self.goal else ""
        line = f"{self.name:52}{self.value:10.4g} {self.unit:8}{goal:18}"
        return f"{line}{'' if self.met else 'missed':8}{self.note}".rstrip()


def at_least(name: str, value: float, unit: str, goal: float, note: str = "") -> Figure:
    """Return a figure that should not be below its goal."""
    return Figure(name, value, unit, f">= {goal:g}", value >= goal, note)


def at_most(name: str, value: float, unit: str, goal: float, note: str = "") -> Figure:
    """Return a figure that should not be above its goal."""
    return Figure(name, value, unit, f"<= {goal:g}", value <= goal, note)


def report(figures: Iterable[Figure], path: Path | None) -> None:
    """Print each figure as soon as it is known; write all as JSON to the path unless it is None."""
    print(f"{'figure':52}{'value':>10} {'':8}goal", flush=True)
    rows = []
    for figure in figures:
        print(figure, flush=True)
        rows.append(figure._asdict())
    if path:
        path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
