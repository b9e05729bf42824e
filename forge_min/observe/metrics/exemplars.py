"""Exemplars: of each bucket the sampled span that was measured last, beside the cells that count.

Source: OpenMetrics 1.0, section Exemplars
(https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars). Their labels may have 128
characters: ours, `trace_id` and `span_id` in hex, have 63.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from ..traceparent import SpanContext


class Exemplar(NamedTuple):
    """A span that was measured: its ids, the value, and when, in seconds since 1970."""

    trace_id: int
    span_id: int
    value: float
    time: float


Exemplars = Sequence[Exemplar | None]
"""One place per bucket, +Inf last; a counter has one place. Empty: none was ever kept."""


class Kept:
    """The exemplars of a family: at most one per bucket and label set."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        # LOCK: none; to set one place of a list is atomic, and any of two at once may stay.
        self._rows: dict[tuple[str, ...], list[Exemplar | None]] = {}

    def keep(self, labels: tuple[str, ...], value: float, place: SpanContext) -> None:
        """The span at `place` is the last one that was measured at this value."""
        row = self._rows.get(labels)
        if row is None:
            row = self._rows.setdefault(labels, [None] * (len(self._bounds) + 1))
        made = Exemplar(place.trace_id, place.span_id, value, time.time())
        row[bisect_left(self._bounds, value)] = made

    def of(self, labels: tuple[str, ...]) -> Exemplars:
        """Those of one label set."""
        row = self._rows.get(labels)
        return tuple(row) if row else ()


def newest(one: Exemplars, other: Exemplars) -> Exemplars:
    """Of each bucket the one that was measured later."""
    if not (one and other):
        return one or other
    return tuple(
        b if a is None or (b is not None and b.time > a.time) else a
        for a, b in zip_longest(one, other)
    )
