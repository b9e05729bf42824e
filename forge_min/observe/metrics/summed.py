"""The metrics of several processes as those of one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from .registry import Across, Kind, Labels, Registry, Sample


class Taken(NamedTuple):
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


Snapshot = list[Taken]


def snapshot(registry: Registry, names: Collection[str] = ()) -> Snapshot:
    """Everything that the registry holds now, or these series of it; it can be pickled."""
    return [
        Taken(
            f.name, f.help, f.kind, f.label_names, f.bounds, f.across,
            {sample.labels: sample for sample in f.samples()},
        )
        for f in registry.collect()
        if not names or f.name in names
    ]  # fmt: skip


def lasting(taken: Snapshot) -> Snapshot:
    """What a process leaves behind when it ends: what it has counted, not what stood at a value."""
    return [family for family in taken if family.kind != "gauge"]


def summed(snapshots: Sequence[Snapshot]) -> Snapshot:
    """One snapshot of all: sums, or the highest value where a family says so, sorted by name."""
    found: dict[str, Taken] = {}
    for taken in snapshots:
        for family in taken:
            known = found.setdefault(family.name, family._replace(rows={}))
            for labels, sample in family.rows.items():
                before = known.rows.get(labels)
                new = sample if before is None else _both(known.across, before, sample)
                known.rows[labels] = new
    return [found[name] for name in sorted(found)]


def _both(across: Across, one: Sample, other: Sample) -> Sample:
    if across == "max":
        return max(one, other, key=lambda sample: sample.value)
    buckets = tuple(a + b for a, b in zip(one.buckets, other.buckets))
    return Sample(one.labels, one.value + other.value, buckets)
