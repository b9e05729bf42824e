"""A metric family: the series of one name, their cells, and the limit on their number.

The cells of `fanout` count without a Python lock. The text formats are in exposition.py.
"""

from __future__ import annotations

import logging
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Generic, Literal, NamedTuple, TypeVar

from ...fanout import Counter, Histogram
from ..tracing import SpanContext, current

Kind = Literal["counter", "gauge", "histogram", "info"]
Across = Literal["sum", "max"]
Labels = tuple[str, ...]
Callback = Callable[[], float | Mapping[Labels, float]]
"""Returns the value at each scrape: a number, or a number per label set."""

OVERFLOW = "_other"
"""The label value of the cell that counts all label sets beyond the limit."""

LIMIT = 1000

# LOCK: guards the creation of metrics and cells, and `overflowed`. SAFETY: reentrant, because a
# signal handler may count; held during a fork, so it is free in the child.
LOCK = RLock()
os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)

_log = logging.getLogger(__name__)


class Exemplar(NamedTuple):
    """A measured value with the ids of its span. time: seconds since 1970.

    Source: https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars. Labels may have 128
    characters: `trace_id` and `span_id` in hex have 63.
    """

    trace_id: int
    span_id: int
    value: float
    time: float


Exemplars = Sequence[Exemplar | None]
"""The last sampled span of each bucket, +Inf last; one of a counter. Empty without any."""


class Sample(NamedTuple):
    """The value of a label set. buckets: count per bound, not cumulative, +Inf last."""

    labels: Labels
    value: float
    buckets: Sequence[int] = ()
    exemplars: Exemplars = ()


def plain(value: object) -> str:
    """Return a value as text, a lone surrogate as `\\udc80`, so that equal texts are one label."""
    text = str(value)
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


class Gauge:
    """A value of a callback. The cells live for one scrape, so they need no lock."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


Cell = TypeVar("Cell", Counter, Gauge, Histogram)


@dataclass(eq=False)
class Metric(Generic[Cell]):
    """A metric family. Has at most 1,000 label sets and the overflow cell.

    bounds: of a histogram only, without +Inf.
    callback: returns the values; the metric then has no cells.
    across: how the values of several processes are combined.
    """

    name: str
    help: str
    kind: Kind
    label_names: Labels
    new_cell: Callable[[], Cell]
    bounds: tuple[float, ...] = ()
    callback: Callback | None = None
    across: Across = "sum"

    def __post_init__(self) -> None:
        self.help = plain(self.help)
        self.shape = (self.kind, self.label_names, self.bounds)
        self.overflowed = 0
        self._cells: dict[Labels, Cell] = {}
        # LOCK: none; setting an item of a list is atomic, and either of two writers may win.
        self._exemplars: dict[Cell, list[Exemplar | None]] = {}
        if not self.label_names and self.callback is None:
            self._cells[()] = self.new_cell()

    def labels(self, *values: str) -> Cell:
        """Return the cell of a label set.

        Beyond the limit, each new set is counted in the cell `_other`.

        values: in the order of the names; other types than str are slower.

        Raises ValueError for a wrong number of values.
        """
        return self._cells.get(values) or self._find(values)

    def count(self: Metric[Counter], labels: Labels, n: float = 1.0) -> None:
        """Add n to a label set of a counter, with the current span, if sampled, as exemplar."""
        cell = self._cells.get(labels) or self._find(labels)
        cell.inc(n)
        context = current.get()
        if context is not None and context.sampled:
            self._set_exemplar(cell, n, context)

    def observe(
        self: Metric[Histogram], labels: Labels, value: float, context: SpanContext | None = None
    ) -> None:
        """Count a value in a label set of a histogram.

        The exemplar of its bucket is the span `context`, default the current one, if sampled.
        """
        # PERF: one lookup of a context variable if nothing is sampled (benchmarks/observe).
        cell = self._cells.get(labels) or self._find(labels)
        cell.observe(value)
        context = context or current.get()
        if context is not None and context.sampled:
            self._set_exemplar(cell, value, context)

    def _set_exemplar(self, cell: Cell, value: float, context: SpanContext) -> None:
        row = self._exemplars.get(cell)
        if row is None:
            row = self._exemplars.setdefault(cell, [None] * (len(self.bounds) + 1))
        exemplar = Exemplar(context.trace_id, context.span_id, value, time.time())
        row[bisect_left(self.bounds, value)] = exemplar

    def _find(self, labels: Labels) -> Cell:
        values = tuple(map(plain, labels))
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has the labels {self.label_names}, not {len(values)}")
        with LOCK:
            if values not in self._cells and len(self._cells) >= LIMIT:
                self.overflowed += 1
                values = (OVERFLOW,) * len(values)
            # SAFETY: a signal handler may make the cell between the two calls.
            return self._cells.get(values) or self._cells.setdefault(values, self.new_cell())

    def samples(self) -> Iterable[Sample]:
        """Return the current values. If the callback raises, logs it and returns no samples."""
        if self.callback is not None:
            return self._call(self.callback)
        return self._read_cells()

    def _read_cells(self) -> Iterator[Sample]:
        with LOCK:
            cells = list(self._cells.items())
        for labels, cell in cells:
            exemplars = tuple(self._exemplars.get(cell, ()))
            if isinstance(cell, Histogram):
                buckets, total, _ = cell.snapshot()
                yield Sample(labels, total, buckets, exemplars)
            else:
                yield Sample(labels, cell.value, (), exemplars)

    def _call(self, callback: Callback) -> Iterable[Sample]:
        """Return the values of a callback, within the limit of a metric that has cells."""
        limited = Metric(self.name, self.help, self.kind, self.label_names, Gauge)
        try:
            values = callback()
            if not isinstance(values, Mapping):
                values = {(): values}
            for labels, number in values.items():
                limited.labels(*labels).value += float(number)
        except Exception:
            _log.exception("the callback of metric %s failed", self.name)
            return []
        with LOCK:  # the highest number beyond the limit: each scrape has the same label sets
            self.overflowed = max(self.overflowed, limited.overflowed)
        if not values:
            return []
        return limited.samples()


AnyMetric = Metric[Counter] | Metric[Gauge] | Metric[Histogram]
