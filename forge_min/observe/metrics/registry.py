"""The registry of metrics: every metric of a process, by its unique name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...fanout import Counter, Histogram
from ...lazy import lazy_pattern
from .metric import LOCK, Across, AnyMetric, Callback, Cell, Gauge, Kind, Labels, Metric

_NAME = lazy_pattern(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = lazy_pattern(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SUFFIX = {"counter": "_total", "info": "_info"}  # of the one series of a family in OpenMetrics
# The names that OpenMetrics derives from that of a metric: no other metric may have one of them.
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "counter": ("", "_total", "_created"),
    "gauge": ("",),
    "histogram": ("", "_bucket", "_count", "_sum", "_created"),
    "info": ("", "_info"),
}


class MetricRegistry:
    """The metrics of a process. A second registration of a name returns the same metric."""

    def __init__(self) -> None:
        self._metrics: dict[str, AnyMetric] = {}
        self._owners: dict[str, str] = {}  # derived name → name of the metric
        self.counter(
            "forge_metrics_overflow_total",
            "Label sets beyond the limit of their metric, counted as _other.",
            ("metric",),
            callback=self._overflows,
        )

    def counter(
        self, name: str, help: str, labels: Sequence[str] = (), *, callback: Callback | None = None
    ) -> Metric[Counter]:
        """Return a counter, new or registered already.

        name: ends in `_total`, which OpenMetrics adds if it is missing.
        help: one sentence.
        labels: the names of the labels.
        callback: returns the value at each scrape; the metric then has no cells.

        Raises ValueError for a name that Prometheus rejects or that is registered with another kind
        or other labels, and for a repeated label.
        """
        metric = Metric(name, help, "counter", tuple(labels), Counter, callback=callback)
        return self._add(metric)

    def gauge(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        *,
        callback: Callback,
        across: Across = "sum",
    ) -> Metric[Gauge]:
        """Return a gauge. Its values are read from `callback` at each scrape.

        Other parameters and errors as for `counter`.

        across: "max" if each process reports the value of the whole site.
        """
        names = tuple(labels)
        metric = Metric(name, help, "gauge", names, Gauge, callback=callback, across=across)
        return self._add(metric)

    def info(self, name: str, help: str, values: Mapping[str, str]) -> Metric[Gauge]:
        """Return a metric for constants: the labels of one series that has always the value 1.

        Raises ValueError as `counter`, and for a name that does not end in `_info`.
        """
        if not name.endswith("_info"):
            raise ValueError(f"{name}: the name of an info metric must end in _info")
        samples = {tuple(values.values()): 1.0}
        names = tuple(values)
        metric = Metric(name, help, "info", names, Gauge, (), lambda: samples, across="max")
        return self._add(metric)

    def histogram(
        self, name: str, help: str, labels: Sequence[str] = (), bounds: Sequence[float] = _BOUNDS
    ) -> Metric[Histogram]:
        """Return a histogram; other parameters and errors as for `counter`.

        bounds: upper bounds of the buckets, ascending, without +Inf.
        """
        limits = tuple(map(float, bounds))
        if not limits or list(limits) != sorted(set(limits)) or "le" in labels:
            raise ValueError(f"{name}: bounds must ascend and no label may be named 'le'")
        names = tuple(labels)
        metric = Metric(name, help, "histogram", names, lambda: Histogram(limits), limits)
        return self._add(metric)

    def collect(self) -> list[AnyMetric]:
        """Return every metric, sorted by name."""
        with LOCK:
            return sorted(self._metrics.values(), key=lambda metric: metric.name)

    def _add(self, metric: Metric[Cell]) -> Metric[Cell]:
        if not _NAME.fullmatch(metric.name):
            raise ValueError(f"{metric.name!r} is not a metric name")
        for label in metric.label_names:
            if not _LABEL.fullmatch(label):
                raise ValueError(f"{label!r} is not a label name")
        if len(set(metric.label_names)) < len(metric.label_names):
            raise ValueError(f"{metric.name} has a label twice: {metric.label_names}")
        base = base_name(metric.name, metric.kind)
        names = [base + suffix for suffix in _SUFFIXES[metric.kind]]
        with LOCK:
            registered = self._metrics.get(metric.name)
            if registered is None:
                others = {self._owners[name] for name in names if name in self._owners}
                if others:
                    raise ValueError(f"{metric.name} has series named as those of {others}")
                self._owners |= dict.fromkeys(names, metric.name)
                self._metrics[metric.name] = metric
                return metric
        if registered.shape != metric.shape:
            raise ValueError(f"{metric.name} exists already as another kind or with other labels")
        return registered  # type: ignore[return-value]  # same kind, so same cells

    def _overflows(self) -> Mapping[Labels, float]:
        return {(m.name,): float(m.overflowed) for m in self.collect() if m.overflowed}


def base_name(name: str, kind: Kind) -> str:
    """Return the name of a metric family in OpenMetrics, without the suffix of its one series."""
    return name.removesuffix(SUFFIX.get(kind, "")) or name
