"""A family: all series of one name, the cells that count them, and the bound on their number.

Counting happens in the cells of `fanout`, without a lock of ours. It knows no text format.
"""

from __future__ import annotations

import logging
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import RLock
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from ...fanout import Counter, Histogram
from ..traceparent import SpanContext
from ..tracing import current

Kind = Literal["counter", "gauge", "histogram", "info"]
Across = Literal["sum", "max"]
Labels = tuple[str, ...]
Callback = Callable[[], float | Mapping[Labels, float]]
"""Reads the value when somebody scrapes: one number, or one per label set."""

OVERFLOW = "_other"
"""The label value of the one cell that stands for every label set beyond the limit."""

LIMIT = 1000

# LOCK: guards the making of families and cells, `overflowed`, and the values of gauges. SAFETY:
# reentrant, as a signal's handler may count; held during a fork, so that a child finds it free.
LOCK = RLock()
os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)

_log = logging.getLogger(__name__)


class Exemplar(NamedTuple):
    """A span that was measured: its ids, the value, and when, in seconds since 1970.

    Source: https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars. Their labels may have
    128 characters: ours, `trace_id` and `span_id` in hex, have 63.
    """

    trace_id: int
    span_id: int
    value: float
    time: float


Exemplars = Sequence[Exemplar | None]
"""The last sampled span of each bucket, +Inf last; of a counter one. Empty: there was none."""


class Sample(NamedTuple):
    """One label set at one moment. buckets: count per bound, not cumulative, +Inf last."""

    labels: Labels
    value: float
    buckets: Sequence[int] = ()
    exemplars: Exemplars = ()


def plain(value: object) -> str:
    """Its text, a lone surrogate as `\\udc80`: two label sets that are written alike are one."""
    text = str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class Gauge:
    """A value that goes up and down."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 0.0

    @property
    def value(self) -> float:
        """What it stands at."""
        return self._value

    def set(self, value: float) -> None:
        """Replace the value."""
        with LOCK:
            self._value = float(value)

    def inc(self, n: float = 1.0) -> None:
        """Add n."""
        with LOCK:
            self._value += n

    def dec(self, n: float = 1.0) -> None:
        """Take n away."""
        self.inc(-n)


Cell = TypeVar("Cell", Counter, Gauge, Histogram)


class Metric(Generic[Cell]):
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
        self.help = plain(help)
        self.kind: Kind = kind
        self.label_names = labels
        self.bounds = bounds
        self.shape = (kind, labels, bounds)
        self.callback = callback
        self.across: Across = across
        self.overflowed = 0
        self._new_cell: Callable[[], Cell] = new_cell
        self._cells: dict[Labels, Cell] = {}
        # LOCK: none; to set one place of a list is atomic, and any of two at once may stay.
        self._exemplars: dict[Labels, list[Exemplar | None]] = {}
        if not labels and callback is None:
            self._cells[()] = new_cell()

    def labels(self, *values: str) -> Cell:
        """The cell of one label set, in the order of the names. Give strings: others are slower.

        Beyond the limit every new set gets the one cell labelled `_other`, and is counted. Raises
        ValueError when the number of values is wrong.
        """
        cell = self._cells.get(values)
        return self._find(values) if cell is None else cell

    def count(self: Metric[Counter], labels: Labels, n: float = 1.0) -> None:
        """Add n to a counter's label set; its exemplar: the span this thread is in, if sampled."""
        cell = self._cells.get(labels)
        (self._find(labels) if cell is None else cell).inc(n)
        place = current.get()
        if place is not None and place.sampled:
            self._keep(labels, n, place)

    def observe(
        self: Metric[Histogram], labels: Labels, value: float, place: SpanContext | None = None
    ) -> None:
        """Count an observation of a histogram's label set; its bucket's exemplar: the span at
        `place`, else the one this thread is in, if sampled.
        """
        # PERF: one look at a context variable where nothing is sampled (benchmarks/observe).
        cell = self._cells.get(labels)
        (self._find(labels) if cell is None else cell).observe(value)
        place = place or current.get()
        if place is not None and place.sampled:
            self._keep(labels, value, place)

    def _keep(self, labels: Labels, value: float, place: SpanContext) -> None:
        if labels not in self._cells:
            labels = tuple(map(plain, labels))
        if labels not in self._cells:
            labels = (OVERFLOW,) * len(labels)
        row = self._exemplars.get(labels)
        if row is None:
            row = self._exemplars.setdefault(labels, [None] * (len(self.bounds) + 1))
        made = Exemplar(place.trace_id, place.span_id, value, time.time())
        row[bisect_left(self.bounds, value)] = made

    def _find(self, given: Labels) -> Cell:
        values = tuple(map(plain, given))
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has the labels {self.label_names}, not {len(values)}")
        with LOCK:
            cell = self._cells.get(values)
            if cell is not None:
                return cell
            if len(self._cells) >= LIMIT:
                self.overflowed += 1
                values = (OVERFLOW,) * len(values)
                cell = self._cells.get(values)
            if cell is None:
                cell = self._cells.setdefault(values, self._new_cell())
            return cell

    def samples(self) -> Iterable[Sample]:
        """Every cell's value now. A callback that raises is logged and gives no samples."""
        return self._called(self.callback) if self.callback else self._counted()

    def _counted(self) -> Iterator[Sample]:
        with LOCK:
            cells = list(self._cells.items())
        for labels, cell in cells:
            exemplars = tuple(self._exemplars.get(labels, ()))
            if isinstance(cell, Histogram):
                buckets, total, _ = cell.snapshot()
                yield Sample(labels, total, buckets, exemplars)
            else:
                yield Sample(labels, cell.value, (), exemplars)

    def _called(self, callback: Callback) -> Iterable[Sample]:
        try:
            value = callback()
            values = value if isinstance(value, Mapping) else {(): value}
            return [Sample(k, v) for k, v in self._bounded(values).items()]
        except Exception:
            _log.exception("the callback of metric %s failed", self.name)
            return []

    def _bounded(self, values: Mapping[Any, float]) -> Mapping[Labels, float]:
        """Those of a callback, as texts; what is beyond the limit is added up as `_other`, and
        counted: as many as there were at most, for the same are told at each scrape.
        """
        found: dict[Labels, float] = {}
        beyond = 0
        for given, value in values.items():
            labels = tuple(map(plain, given))
            if len(labels) != len(self.label_names):
                raise ValueError(f"{labels} are no values of the labels {self.label_names}")
            if labels not in found and len(found) >= LIMIT:
                labels = (OVERFLOW,) * len(labels)
                beyond += 1
            found[labels] = found.get(labels, 0.0) + float(value)
        if beyond:
            with LOCK:
                self.overflowed = max(self.overflowed, beyond)
        return found


AnyMetric = Metric[Counter] | Metric[Gauge] | Metric[Histogram]
