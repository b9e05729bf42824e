"""The registry of metrics: every family of a process, by names that no two of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...fanout import Counter, Histogram
from ...lazy import lazy_pattern
from .metric import LOCK, Across, AnyMetric, Callback, Cell, Gauge, Kind, Labels, Metric

_NAME = lazy_pattern(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = lazy_pattern(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# What OpenMetrics makes of a family's name: no other family may be called that.
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "counter": ("", "_total", "_created"),
    "gauge": ("",),
    "histogram": ("", "_bucket", "_count", "_sum", "_created"),
    "info": ("", "_info"),
}


class Registry:
    """Every metric of a process. Asking for a name again gives the same family."""

    def __init__(self) -> None:
        self._families: dict[str, AnyMetric] = {}
        self._taken: dict[str, str] = {}  # name → whose family's
        self.counter(
            "forge_metrics_overflow_total",
            "Label sets that found no place in their metric and were counted as _other.",
            ("metric",),
            callback=self._overflows,
        )

    def counter(
        self, name: str, help: str, labels: Sequence[str] = (), *, callback: Callback | None = None
    ) -> Metric[Counter]:
        """A family of counters. callback: reads the value from elsewhere; then there are no cells.

        Give it a name that ends in `_total`: OpenMetrics adds that where it is missing. Raises
        ValueError for a name that Prometheus refuses or that another kind or label set has, and
        for a label that is named twice.
        """
        return self._add(Metric(name, help, "counter", tuple(labels), Counter, callback=callback))

    def gauge(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        *,
        callback: Callback | None = None,
        across: Across = "sum",
    ) -> Metric[Gauge]:
        """A family of gauges; as `counter`. across: "max" where each process tells of the whole."""
        return self._add(
            Metric(name, help, "gauge", tuple(labels), Gauge, callback=callback, across=across)
        )

    def info(self, name: str, help: str, values: Mapping[str, str]) -> Metric[Gauge]:
        """What does not change, as the labels of one series that is always 1. Raises ValueError as
        `counter`, and for a name that does not end in `_info`.
        """
        if not name.endswith("_info"):
            raise ValueError(f"{name}: the name of an info ends in _info")
        told = {tuple(values.values()): 1.0}
        family = Metric(
            name, help, "info", tuple(values), Gauge, callback=lambda: told, across="max"
        )
        return self._add(family)

    def histogram(
        self, name: str, help: str, labels: Sequence[str] = (), bounds: Sequence[float] = _BOUNDS
    ) -> Metric[Histogram]:
        """A family of histograms. bounds: upper bounds of the buckets, ascending, without +Inf."""
        limits = tuple(map(float, bounds))
        if not limits or list(limits) != sorted(set(limits)) or "le" in labels:
            raise ValueError(f"{name}: bounds must ascend and no label may be named 'le'")
        return self._add(
            Metric(name, help, "histogram", tuple(labels), lambda: Histogram(limits), bounds=limits)
        )

    def collect(self) -> list[AnyMetric]:
        """Every family, sorted by name."""
        with LOCK:
            return sorted(self._families.values(), key=lambda family: family.name)

    def _add(self, family: Metric[Cell]) -> Metric[Cell]:
        if not _NAME.fullmatch(family.name):
            raise ValueError(f"{family.name!r} is not a metric name")
        for label in family.label_names:
            if not _LABEL.fullmatch(label):
                raise ValueError(f"{label!r} is not a label name")
        if len(set(family.label_names)) < len(family.label_names):
            raise ValueError(f"{family.name} has a label twice: {family.label_names}")
        base = base_name(family.name, family.kind)
        names = [base + suffix for suffix in _SUFFIXES[family.kind]]
        with LOCK:
            known = self._families.get(family.name)
            if known is None:
                if others := {self._taken[name] for name in names if name in self._taken}:
                    raise ValueError(f"{family.name} has series named as those of {others}")
                self._taken |= dict.fromkeys(names, family.name)
                self._families[family.name] = family
                return family
        if known.shape != family.shape:
            raise ValueError(f"{family.name} exists already as another kind or with other labels")
        return known  # type: ignore[return-value]  # same kind: same cells

    def _overflows(self) -> Mapping[Labels, float]:
        return {(f.name,): float(f.overflowed) for f in self.collect() if f.overflowed}


def base_name(name: str, kind: Kind) -> str:
    """The name of a family as OpenMetrics has it: without the suffix of its one series."""
    suffix = {"counter": "_total", "info": "_info"}.get(kind, "")
    return name.removesuffix(suffix) or name
