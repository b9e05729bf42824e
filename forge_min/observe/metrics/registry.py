"""The registry of metrics: families, their bounded label sets, and the cells that count.

Counting happens in the cells of `fanout`, without a lock of ours. The registry knows no text
format.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Generic, Literal, NamedTuple, TypeVar

from ...fanout import Counter, Histogram

Kind = Literal["counter", "gauge", "histogram"]
Across = Literal["sum", "max"]
Labels = tuple[str, ...]
Callback = Callable[[], float | Mapping[Labels, float]]
"""Reads the value when somebody scrapes: one number, or one per label set."""

OVERFLOW = "_other"
"""The label value of the one cell that stands for every label set beyond the limit."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_LIMIT = 1000
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_log = logging.getLogger(__name__)


class Sample(NamedTuple):
    """One label set at one moment. buckets: count per bound, not cumulative, +Inf last."""

    labels: Labels
    value: float
    buckets: Sequence[int] = ()


class Gauge:
    """A value that goes up and down. LOCK: inc and dec read before they write."""

    __slots__ = ("_lock", "_value")

    def __init__(self) -> None:
        self._lock = Lock()
        self._value = 0.0

    @property
    def value(self) -> float:
        """What it stands at."""
        return self._value

    def set(self, value: float) -> None:
        """Replace the value."""
        with self._lock:
            self._value = float(value)

    def inc(self, n: float = 1.0) -> None:
        """Add n."""
        with self._lock:
            self._value += n

    def dec(self, n: float = 1.0) -> None:
        """Take n away."""
        self.inc(-n)


Cell = TypeVar("Cell", Counter, Gauge, Histogram)


class Family(Generic[Cell]):
    """All cells of one name. Never holds more than 1,000 label sets and the overflow cell.

    bounds: of a histogram only, without +Inf. across: what several processes together say.
    """

    def __init__(
        self,
        name: str,
        help: str,
        kind: Kind,
        labels: Labels,
        new_cell: Callable[[], Cell],
        *,
        bounds: tuple[float, ...] = (),
        callback: Callback | None = None,
        across: Across = "sum",
    ) -> None:
        self.name = name
        self.help = help
        self.kind: Kind = kind
        self.label_names = labels
        self.bounds = bounds
        self.shape = (kind, labels, bounds)
        self.callback = callback
        self.across: Across = across
        self.overflowed = 0
        self._new_cell: Callable[[], Cell] = new_cell
        self._lock = Lock()  # LOCK: guards the making of cells and `overflowed`
        self._cells: dict[Labels, Cell] = {}
        if not labels and callback is None:
            self._cells[()] = new_cell()

    def labels(self, *values: str) -> Cell:
        """The cell of one label set, in the order of the names. Give strings: others are slower.

        Beyond the limit every new set gets the one cell labelled `_other`, and is counted. Raises
        ValueError when the number of values is wrong.
        """
        cell = self._cells.get(values)
        return self._find(tuple(map(str, values))) if cell is None else cell

    def _find(self, values: Labels) -> Cell:
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has the labels {self.label_names}, not {len(values)}")
        with self._lock:
            cell = self._cells.get(values)
            if cell is not None:
                return cell
            if len(self._cells) >= _LIMIT:
                self.overflowed += 1
                values = (OVERFLOW,) * len(values)
                cell = self._cells.get(values)
            if cell is None:
                cell = self._cells[values] = self._new_cell()
            return cell

    def samples(self) -> Iterable[Sample]:
        """Every cell's value now. A callback that raises is logged and gives no samples."""
        return self._called(self.callback) if self.callback else self._counted()

    def _counted(self) -> Iterator[Sample]:
        with self._lock:
            cells = list(self._cells.items())
        for labels, cell in cells:
            if isinstance(cell, Histogram):
                buckets, total, _ = cell.snapshot()
                yield Sample(labels, total, buckets)
            else:
                yield Sample(labels, cell.value)

    def _called(self, callback: Callback) -> Iterable[Sample]:
        try:
            value = callback()
            values = value if isinstance(value, Mapping) else {(): value}
            return [Sample(tuple(map(str, k)), float(v)) for k, v in values.items()]
        except Exception:
            _log.exception("the callback of metric %s failed", self.name)
            return []


AnyFamily = Family[Counter] | Family[Gauge] | Family[Histogram]


class Registry:
    """Every metric of a process. Asking for a name again gives the same family."""

    def __init__(self) -> None:
        self._lock = Lock()  # LOCK: guards `_families`
        self._families: dict[str, AnyFamily] = {}
        self.counter(
            "forge_metrics_overflow_total",
            "Label sets that found no place in their metric and were counted as _other.",
            ("metric",),
            callback=self._overflows,
        )

    def counter(
        self, name: str, help: str, labels: Sequence[str] = (), *, callback: Callback | None = None
    ) -> Family[Counter]:
        """A family of counters. callback: reads the value from elsewhere; then there are no cells.

        Raises ValueError for a name that Prometheus refuses or that another kind or label set has.
        """
        return self._add(Family(name, help, "counter", tuple(labels), Counter, callback=callback))

    def gauge(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        *,
        callback: Callback | None = None,
        across: Across = "sum",
    ) -> Family[Gauge]:
        """A family of gauges; as `counter`. across: "max" where each process tells of the whole."""
        return self._add(
            Family(name, help, "gauge", tuple(labels), Gauge, callback=callback, across=across)
        )

    def histogram(
        self, name: str, help: str, labels: Sequence[str] = (), bounds: Sequence[float] = _BOUNDS
    ) -> Family[Histogram]:
        """A family of histograms. bounds: upper bounds of the buckets, ascending, without +Inf."""
        limits = tuple(map(float, bounds))
        if not limits or list(limits) != sorted(set(limits)) or "le" in labels:
            raise ValueError(f"{name}: bounds must ascend and no label may be named 'le'")
        return self._add(
            Family(name, help, "histogram", tuple(labels), lambda: Histogram(limits), bounds=limits)
        )

    def collect(self) -> list[AnyFamily]:
        """Every family, sorted by name."""
        with self._lock:
            return sorted(self._families.values(), key=lambda family: family.name)

    def _add(self, family: Family[Cell]) -> Family[Cell]:
        if not _NAME.fullmatch(family.name):
            raise ValueError(f"{family.name!r} is not a metric name")
        for label in family.label_names:
            if not _LABEL.fullmatch(label):
                raise ValueError(f"{label!r} is not a label name")
        with self._lock:
            known = self._families.get(family.name)
            if known is None:
                self._families[family.name] = family
                return family
        if known.shape != family.shape:
            raise ValueError(f"{family.name} exists already as another kind or with other labels")
        return known  # type: ignore[return-value]  # same kind: same cells

    def _overflows(self) -> Mapping[Labels, float]:
        return {(f.name,): float(f.overflowed) for f in self.collect() if f.overflowed}
