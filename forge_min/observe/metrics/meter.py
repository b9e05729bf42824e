"""The metrics of a registry as observable instruments of OpenTelemetry's API, not its SDK.

The API has no observable histogram. A histogram becomes three observable counters: `_bucket`
(cumulative, with `le`), `_sum` and `_count`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
from opentelemetry.metrics import get_meter_provider as global_provider

from .metric import AnyMetric, Sample
from .registry import MetricRegistry, base_name

_UNITS = {"seconds": "s", "bytes": "By"}  # as UCUM writes them

Read = Callable[[AnyMetric], Iterable[Observation]]
Callback = Callable[[CallbackOptions], Iterable[Observation]]


class MeterBridge:
    """Exposes the current metrics of a registry as instruments of a meter provider.

    registry: metrics registered later are not exposed.
    provider: default the global one of the API, even if it is set later.
    """

    def __init__(self, registry: MetricRegistry, provider: MeterProvider | None = None) -> None:
        meter = (provider or global_provider()).get_meter("forge_min")
        self._open = True
        for metric in registry.collect():
            self._add(meter, metric)

    def close(self) -> None:
        """Stop reporting: instruments cannot be unregistered. Idempotent."""
        self._open = False

    def _add(self, meter: Meter, metric: AnyMetric) -> None:
        name, help = base_name(metric.name, metric.kind), metric.help
        unit = _UNITS.get(name.rpartition("_")[2], "")
        if metric.kind == "histogram":
            for suffix, read in _OF_HISTOGRAM.items():
                of = unit if suffix == "_sum" else ""
                callback = self._callback(metric, read)
                meter.create_observable_counter(name + suffix, [callback], of, help)
            return
        callback = self._callback(metric, _values)
        if metric.kind == "counter":
            meter.create_observable_counter(name, [callback], unit, help)
        else:
            meter.create_observable_gauge(metric.name, [callback], unit, help)

    def _callback(self, metric: AnyMetric, read: Read) -> Callback:
        return lambda options: read(metric) if self._open else ()


def _values(metric: AnyMetric) -> Iterator[Observation]:
    return (Observation(s.value, _attributes(metric, s)) for s in metric.samples())


def _counts(metric: AnyMetric) -> Iterator[Observation]:
    return (Observation(sum(s.buckets), _attributes(metric, s)) for s in metric.samples())


def _buckets(metric: AnyMetric) -> Iterator[Observation]:
    bounds = [*map(repr, metric.bounds), "+Inf"]
    for sample in metric.samples():
        attributes = _attributes(metric, sample)
        for bound, count in zip(bounds, accumulate(sample.buckets)):
            yield Observation(count, {**attributes, "le": bound})


def _attributes(metric: AnyMetric, sample: Sample) -> dict[str, str]:
    return dict(zip(metric.label_names, sample.labels))


_OF_HISTOGRAM: dict[str, Read] = {"_bucket": _buckets, "_sum": _values, "_count": _counts}
