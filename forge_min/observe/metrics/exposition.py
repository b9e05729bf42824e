"""Metrics as text: Prometheus 0.0.4, or OpenMetrics 1.0.0 with exemplars if a scrape prefers it.

The optional `_created` of OpenMetrics is omitted: it would double the series of a counter.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format and
https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from ...i18n import preferences
from .aggregation import MetricSnapshot, Snapshot
from .metric import AnyMetric, Exemplar, Labels, Sample
from .registry import SUFFIX, MetricRegistry, base_name

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Renderable = AnyMetric | MetricSnapshot

_UNITS = ("seconds", "bytes")


def scrape(metrics: MetricRegistry | Snapshot, accept: str = "") -> tuple[str, bytes]:
    """Return (Content-Type, body) for an Accept header (RFC 9110 section 12.5.1).

    The format is Prometheus text, unless OpenMetrics is preferred.
    """
    openmetrics = _weight(accept, "application", "openmetrics-text", "1.0.0")
    plain_text = _weight(accept, "text", "plain", "0.0.4")
    if openmetrics[0] and openmetrics > plain_text:
        return OPENMETRICS_TYPE, render_metrics(metrics, openmetrics=True)
    return CONTENT_TYPE, render_metrics(metrics)


def _weight(accept: str, kind: str, subtype: str, version: str) -> tuple[float, int]:
    """Return the weight of a format in its most specific range, and a rank of that range."""
    weights = {
        name: weight
        for name, parameters, weight in preferences(accept)
        if parameters.get("version", version) == version
    }
    for rank, name in enumerate((f"{kind}/{subtype}", f"{kind}/*", "*/*")):
        if name in weights:
            return weights[name], -rank
    return 0.0, 0


def render_metrics(metrics: MetricRegistry | Snapshot, *, openmetrics: bool = False) -> bytes:
    """Return all metrics as the body of a scrape, in UTF-8. See `metric.plain` for lone surrogates.

    OpenMetrics forbids negative and NaN counters: these have no sample there.
    """
    lines = []
    families = metrics.collect() if isinstance(metrics, MetricRegistry) else metrics
    for metric in families:
        name = metric.name
        kind = metric.kind
        if openmetrics:
            name = base_name(name, kind)
            lines += [f"# HELP {name} {_escaped(metric.help)}", f"# TYPE {name} {kind}"]
            unit = name.rpartition("_")[2]
            if unit in _UNITS and kind != "info":
                lines.append(f"# UNIT {name} {unit}")
            name += SUFFIX.get(kind, "")
        else:
            if kind == "info":
                kind = "gauge"
            lines += [f"# HELP {name} {_on_one_line(metric.help)}", f"# TYPE {name} {kind}"]
        if kind == "histogram":
            _add_histograms(lines, metric, name, openmetrics)
        else:
            _add_values(lines, metric, name, openmetrics)
    if openmetrics:
        lines.append("# EOF")
    lines.append("")
    return "\n".join(lines).encode()


def _add_values(lines: list[str], metric: Renderable, name: str, openmetrics: bool) -> None:
    label_text = _label_writer(metric.label_names)
    positive = openmetrics and metric.kind == "counter"
    for sample in metric.samples():
        if positive and not sample.value >= 0:
            continue
        line = f"{name}{_braced(label_text(sample.labels))} {_number(sample.value)}"
        if openmetrics and sample.exemplars:
            lines += _with_exemplars([line], sample)
        else:
            lines.append(line)


def _add_histograms(lines: list[str], metric: Renderable, name: str, openmetrics: bool) -> None:
    label_text = _label_writer(metric.label_names)
    # PERF: computed once per metric, not for every label set (benchmarks/observe, 10000 text).
    format_bound = repr if openmetrics else _number
    tails = [f'le="{format_bound(bound)}"}} ' for bound in metric.bounds]
    tails.append('le="+Inf"} ')
    negative = openmetrics and metric.bounds[0] < 0  # then OpenMetrics has neither sum nor count
    for sample in metric.samples():
        labels = label_text(sample.labels)
        head = f"{name}_bucket{{"
        if labels:
            head += f"{labels},"
        counts = accumulate(sample.buckets)
        buckets: Iterable[str] = (f"{head}{tail}{count}" for tail, count in zip(tails, counts))
        if openmetrics and sample.exemplars:
            buckets = _with_exemplars(buckets, sample)
        lines += buckets
        if not negative and (sample.value >= 0 or not openmetrics):
            inside = _braced(labels)
            lines.append(f"{name}_sum{inside} {_number(sample.value)}")
            lines.append(f"{name}_count{inside} {sum(sample.buckets)}")


def _with_exemplars(lines: Iterable[str], sample: Sample) -> Iterator[str]:
    for line, exemplar in zip(lines, sample.exemplars):
        if exemplar is not None:
            line += _exemplar(exemplar)
        yield line


def _exemplar(exemplar: Exemplar) -> str:
    ids = f'trace_id="{exemplar.trace_id:032x}",span_id="{exemplar.span_id:016x}"'
    return f" # {{{ids}}} {_number(exemplar.value)} {exemplar.time:.3f}"


def _label_writer(names: Labels) -> Callable[[Labels], str]:
    """Return a function that formats label sets as `a="x",b="y"`, with escaped values."""
    form = ",".join(f'{name}="%s"' for name in names)
    quotes = 2 * len(names)

    def write(values: Labels) -> str:
        # PERF: few label sets need escapes, and checking each value costs three times as much
        # (benchmarks/observe, 10000 text).
        text = form % values
        if text.count('"') != quotes or "\\" in text or "\n" in text:
            text = form % tuple(map(_escaped, values))
        return text

    return write


def _escaped(text: str) -> str:
    return _on_one_line(text).replace('"', r"\"")


def _on_one_line(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _braced(labels: str) -> str:
    return labels and f"{{{labels}}}"


def _number(value: float) -> str:
    """Return a number as text, a whole number without a point."""
    try:
        whole = int(value)
    except (ValueError, OverflowError):
        if value != value:
            return "NaN"
        return "+Inf" if value > 0 else "-Inf"
    if whole == value and -1e15 < whole < 1e15:
        return str(whole)
    return repr(float(value))
