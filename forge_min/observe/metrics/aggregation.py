"""The metrics of several processes as those of one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest
from operator import add
from typing import NamedTuple

from .metric import Across, Exemplars, Kind, Labels, Sample
from .registry import Registry


class MetricSnapshot(NamedTuple):
    """A family at one moment: what it is, and its samples by label set."""

    name: str
    help: str
    kind: Kind
    label_names: Labels
    bounds: tuple[float, ...]
    across: Across
    rows: dict[Labels, Sample]

    def samples(self) -> Iterable[Sample]:
        """As of a family of the registry."""
        return self.rows.values()


Snapshot = list[MetricSnapshot]


def snapshot(registry: Registry, names: Collection[str] = ()) -> Snapshot:
    """Everything that the registry holds now, or these series of it; it can be pickled."""
    return [
        MetricSnapshot(
            f.name, f.help, f.kind, f.label_names, f.bounds, f.across,
            {sample.labels: sample for sample in f.samples()},
        )
        for f in registry.collect()
        if not names or f.name in names
    ]  # fmt: skip


def counters_only(taken: Snapshot) -> Snapshot:
    """What a process leaves behind when it ends: what it has counted, not what stood at a value."""
    return [family for family in taken if family.kind not in ("gauge", "info")]


def aggregate(snapshots: Sequence[Snapshot]) -> Snapshot:
    """One snapshot of all, sorted by name: sums, or the highest value where a family says so; of
    exemplars the newest.
    """
    found: dict[str, MetricSnapshot] = {}
    for taken in snapshots:
        for family in taken:
            known = found.get(family.name)
            if known is None:
                found[family.name] = family._replace(rows=dict(family.rows))
            else:
                _add(known.rows, family.rows.values(), known.across)
    return [found[name] for name in sorted(found)]


def _add(rows: dict[Labels, Sample], more: Iterable[Sample], across: Across) -> None:
    """To the samples of one process those of another."""
    for sample in more:
        known = rows.get(sample.labels)
        if known is None or (across == "max" and sample.value > known.value):
            rows[sample.labels] = sample
        elif across == "sum":
            buckets = tuple(map(add, known.buckets, sample.buckets))
            exemplars = _newest(known.exemplars, sample.exemplars)
            rows[known.labels] = Sample(
                known.labels, known.value + sample.value, buckets, exemplars
            )


def _newest(one: Exemplars, other: Exemplars) -> Exemplars:
    """Of each bucket the one that was measured later."""
    if not (one and other):
        return one or other
    return tuple(
        b if a is None or (b is not None and b.time > a.time) else a
        for a, b in zip_longest(one, other)
    )
