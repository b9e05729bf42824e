"""Snapshots of metrics, and the aggregation of those of several processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from operator import add
from typing import NamedTuple

from .metric import Across, Exemplars, Kind, Labels, Sample
from .registry import MetricRegistry


class MetricSnapshot(NamedTuple):
    """A metric family at one time, with its samples by label set."""

    name: str
    help: str
    kind: Kind
    label_names: Labels
    bounds: tuple[float, ...]
    across: Across
    rows: dict[Labels, Sample]

    def samples(self) -> Iterable[Sample]:
        """Return the samples, as `Metric.samples` does."""
        return self.rows.values()


Snapshot = list[MetricSnapshot]


def snapshot(registry: MetricRegistry) -> Snapshot:
    """Return all metrics now. The result can be pickled."""
    families = []
    for m in registry.collect():
        rows = {sample.labels: sample for sample in m.samples()}
        family = MetricSnapshot(m.name, m.help, m.kind, m.label_names, m.bounds, m.across, rows)
        families.append(family)
    return families


def counters_only(snapshot: Snapshot) -> Snapshot:
    """Return counters and histograms, without gauges: the values that outlive a process."""
    return [metric for metric in snapshot if metric.kind not in ("gauge", "info")]


def aggregate(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Aggregate snapshots into one, sorted by name.

    Values are summed, or the maximum is used for metrics with across="max". The newest exemplar of
    each bucket is kept.
    """
    total: dict[str, MetricSnapshot] = {}
    for metric in chain.from_iterable(snapshots):
        family = total.setdefault(metric.name, metric._replace(rows={}))
        _add(family.rows, metric.rows.values(), family.across)
    return [total[name] for name in sorted(total)]


def _add(rows: dict[Labels, Sample], samples: Iterable[Sample], across: Across) -> None:
    """Add the samples of another process."""
    for sample in samples:
        labels = sample.labels
        total = rows.get(labels)
        if total is None or (across == "max" and sample.value > total.value):
            rows[labels] = sample
        elif across == "sum":
            value = total.value + sample.value
            buckets = tuple(map(add, total.buckets, sample.buckets))
            exemplars = _newest(total.exemplars, sample.exemplars)
            rows[labels] = Sample(labels, value, buckets, exemplars)


def _newest(first: Exemplars, second: Exemplars) -> Exemplars:
    """Return the later exemplar of each bucket."""
    if not (first and second):
        return first or second
    result = []
    for exemplar, other in zip_longest(first, second):
        if exemplar is None or (other is not None and other.time > exemplar.time):
            result.append(other)
        else:
            result.append(exemplar)
    return tuple(result)
