"""The registry's families as observable instruments of an OpenTelemetry meter, so that a reader of
its provider sees them. Knows OpenTelemetry's API, not its SDK.

The API has no observable histogram: one is told as three observable counters, `_bucket`
(cumulative, with `le`), `_sum` and `_count`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
from opentelemetry.metrics import get_meter_provider as global_provider

from .metric import AnyMetric, Sample
from .registry import Registry, base_name

_UNITS = {"seconds": "s", "bytes": "By"}  # as UCUM writes them

Read = Callable[[AnyMetric], Iterable[Observation]]


class MeterBridge:
    """The families that a registry has now, as instruments of a provider; the API's global one
    where none is given, also when that is set later. `close()` ends it: instruments cannot be taken
    back, so they tell of nothing from then on.
    """

    def __init__(self, registry: Registry, provider: MeterProvider | None = None) -> None:
        meter = (provider or global_provider()).get_meter("forge_min")
        self._open = True
        for family in registry.collect():
            self._add(meter, family)

    def close(self) -> None:
        """Tell of nothing any more. Idempotent."""
        self._open = False

    def _add(self, meter: Meter, family: AnyMetric) -> None:
        name, help = base_name(family.name, family.kind), family.help
        unit = _UNITS.get(name.rpartition("_")[2], "")
        if family.kind == "histogram":
            for suffix, read in _OF_HISTOGRAM.items():
                of = unit if suffix == "_sum" else ""
                callback = self._reads(family, read)
                meter.create_observable_counter(name + suffix, [callback], of, help)
        elif family.kind == "counter":
            callback = self._reads(family, _values)
            meter.create_observable_counter(name, [callback], unit, help)
        else:
            callback = self._reads(family, _values)
            meter.create_observable_gauge(family.name, [callback], unit, help)

    def _reads(
        self, family: AnyMetric, read: Read
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda options: read(family) if self._open else ()


def _values(family: AnyMetric) -> Iterator[Observation]:
    return (Observation(s.value, _attributes(family, s)) for s in family.samples())


def _counts(family: AnyMetric) -> Iterator[Observation]:
    return (Observation(sum(s.buckets), _attributes(family, s)) for s in family.samples())


def _buckets(family: AnyMetric) -> Iterator[Observation]:
    bounds = [*map(repr, family.bounds), "+Inf"]
    for sample in family.samples():
        attributes = _attributes(family, sample)
        for bound, count in zip(bounds, accumulate(sample.buckets)):
            yield Observation(count, {**attributes, "le": bound})


def _attributes(family: AnyMetric, sample: Sample) -> dict[str, str]:
    return dict(zip(family.label_names, sample.labels))


_OF_HISTOGRAM: dict[str, Read] = {"_bucket": _buckets, "_sum": _values, "_count": _counts}
