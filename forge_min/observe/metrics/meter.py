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
        name = metric.name
        if metric.kind != "info":
            name = base_name(name, metric.kind)
        unit = _UNITS.get(name.rpartition("_")[2], "")
        create: Callable[..., object] = meter.create_observable_counter
        if metric.kind in ("gauge", "info"):
            create = meter.create_observable_gauge
        series: list[tuple[str, Read, str]] = [("", _values, unit)]
        if metric.kind == "histogram":
            series = [("_bucket", _buckets, ""), ("_sum", _values, unit), ("_count", _counts, "")]
        for suffix, read, series_unit in series:
            create(name + suffix, [self._callback(metric, read)], series_unit, metric.help)

    def _callback(self, metric: AnyMetric, read: Read) -> Callback:
        return lambda options: read(metric) if self._open else ()


def _values(metric: AnyMetric) -> Iterator[Observation]:
    for sample in metric.samples():
        yield Observation(sample.value, _attributes(metric, sample))


def _counts(metric: AnyMetric) -> Iterator[Observation]:
    for sample in metric.samples():
        yield Observation(sum(sample.buckets), _attributes(metric, sample))


def _buckets(metric: AnyMetric) -> Iterator[Observation]:
    bounds = [*map(repr, metric.bounds), "+Inf"]
    for sample in metric.samples():
        attributes = _attributes(metric, sample)
        for bound, count in zip(bounds, accumulate(sample.buckets)):
            yield Observation(count, {**attributes, "le": bound})


def _attributes(metric: AnyMetric, sample: Sample) -> dict[str, str]:
    return dict(zip(metric.label_names, sample.labels))
