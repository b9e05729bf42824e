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
    wanted = _weight(accept, "application", "openmetrics-text", "1.0.0")
    openmetrics = bool(wanted[0]) and wanted > _weight(accept, "text", "plain", "0.0.4")
    kind = OPENMETRICS_TYPE if openmetrics else CONTENT_TYPE
    return kind, render_metrics(metrics, openmetrics=openmetrics)


def _weight(accept: str, kind: str, subtype: str, version: str) -> tuple[float, int]:
    """Return the weight of a format in its most specific range, and a rank of that range."""
    ranges = [r for r in preferences(accept) if r[1].get("version", version) == version]
    weights = {name: weight for name, _, weight in ranges}
    for rank, name in enumerate((f"{kind}/{subtype}", f"{kind}/*", "*/*")):
        if name in weights:
            return weights[name], -rank
    return 0.0, 0


def render_metrics(metrics: MetricRegistry | Snapshot, *, openmetrics: bool = False) -> bytes:
    """Return all metrics as the body of a scrape, in UTF-8. See `metric.plain` for lone surrogates.

    OpenMetrics forbids negative and NaN counters: these have no sample there.
    """
    lines: list[str] = []
    for metric in metrics.collect() if isinstance(metrics, MetricRegistry) else metrics:
        name, kind = metric.name, metric.kind
        if openmetrics:
            name = base_name(name, kind)
            lines += [f"# HELP {name} {_escaped(metric.help)}", f"# TYPE {name} {kind}"]
            unit = name.rpartition("_")[2]
            if unit in _UNITS and kind != "info":
                lines.append(f"# UNIT {name} {unit}")
            name += SUFFIX.get(kind, "")
        else:
            shown = "gauge" if kind == "info" else kind
            lines += [f"# HELP {name} {_on_one_line(metric.help)}", f"# TYPE {name} {shown}"]
        write = _add_histograms if kind == "histogram" else _add_values
        write(lines, metric, name, openmetrics)
    lines += ["# EOF", ""] if openmetrics else [""]
    return "\n".join(lines).encode()


def _add_values(lines: list[str], metric: Renderable, name: str, openmetrics: bool) -> None:
    label_text = _label_writer(metric.label_names)
    positive = openmetrics and metric.kind == "counter"
    for sample in metric.samples():
        if positive and not sample.value >= 0:
            continue
        line = f"{name}{_braced(label_text(sample.labels))} {_number(sample.value)}"
        lines += _with_exemplars([line], sample) if openmetrics and sample.exemplars else [line]


def _add_histograms(lines: list[str], metric: Renderable, name: str, openmetrics: bool) -> None:
    label_text = _label_writer(metric.label_names)
    # PERF: computed once per metric, not for every label set (benchmarks/observe, 10000 text).
    bounds = (*map(repr if openmetrics else _number, metric.bounds), "+Inf")
    tails = [f'le="{bound}"}} ' for bound in bounds]
    negative = openmetrics and metric.bounds[0] < 0  # then OpenMetrics has neither sum nor count
    for sample in metric.samples():
        labels = label_text(sample.labels)
        head = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
        buckets = (f"{head}{tail}{n}" for tail, n in zip(tails, accumulate(sample.buckets)))
        lines += _with_exemplars(buckets, sample) if openmetrics and sample.exemplars else buckets
        if not negative and (sample.value >= 0 or not openmetrics):
            inside = _braced(labels)
            lines.append(f"{name}_sum{inside} {_number(sample.value)}")
            lines.append(f"{name}_count{inside} {sum(sample.buckets)}")


def _with_exemplars(lines: Iterable[str], sample: Sample) -> Iterator[str]:
    for line, exemplar in zip(lines, sample.exemplars):
        yield line + _exemplar(exemplar) if exemplar else line


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
    return f"{{{labels}}}" if labels else ""


def _number(value: float) -> str:
    """Return a number as text, a whole number without a point."""
    try:
        whole = int(value)
    except (ValueError, OverflowError):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    return str(whole) if whole == value and -1e15 < whole < 1e15 else repr(float(value))
