"""Metrics as OpenMetrics text 1.0.0, with exemplars. `_created` is left out: it is optional, and
would add a series to each of a counter.

Source: https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Iterator

from .exemplars import Exemplar
from .family import Sample
from .registry import Registry, family_name
from .summed import Snapshot
from .writing import (
    AFamily,
    LabelText,
    braced,
    bucket_tails,
    buckets,
    encoded,
    escaped,
    number,
)

OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_UNITS = ("seconds", "bytes")
_OF_KIND = {"counter": "_total", "info": "_info"}


def render_openmetrics(metrics: Registry | Snapshot) -> bytes:
    """Every metric as one scrape, UTF-8. Of text that is no Unicode see `family.plain`.

    A counter that stands at no number or below zero, which the format forbids, has no sample.
    """
    lines: list[str] = []
    for family in metrics.collect() if isinstance(metrics, Registry) else metrics:
        name = family_name(family.name, family.kind)
        lines += _about(family, name)
        if family.kind == "histogram":
            _add_histograms(lines, family, name)
        else:
            _add_values(lines, family, name + _OF_KIND.get(family.kind, ""))
    lines.append("# EOF")
    return encoded(lines)


def _about(family: AFamily, name: str) -> Iterator[str]:
    yield f"# HELP {name} {escaped(family.help)}"
    yield f"# TYPE {name} {family.kind}"
    unit = name.rpartition("_")[2]
    if unit in _UNITS and family.kind != "info":
        yield f"# UNIT {name} {unit}"


def _add_values(lines: list[str], family: AFamily, name: str) -> None:
    label_text, counts = LabelText(family.label_names), family.kind == "counter"
    for sample in family.samples():
        if counts and not sample.value >= 0:
            continue
        line = f"{name}{braced(label_text(sample.labels))} {number(sample.value)}"
        found = sample.exemplars[0] if sample.exemplars else None
        lines.append(line + _exemplar(found) if found else line)


def _add_histograms(lines: list[str], family: AFamily, name: str) -> None:
    tails, label_text = bucket_tails(map(repr, family.bounds)), LabelText(family.label_names)
    negative = family.bounds[0] < 0  # then there must be no sum, and no count without one
    for sample in family.samples():
        labels = label_text(sample.labels)
        made = buckets(name, labels, sample, tails)
        lines += _with_exemplars(made, sample) if sample.exemplars else made
        if not negative and sample.value >= 0:
            inside = braced(labels)
            lines.append(f"{name}_sum{inside} {number(sample.value)}")
            lines.append(f"{name}_count{inside} {sum(sample.buckets)}")


def _with_exemplars(lines: Iterator[str], sample: Sample) -> Iterator[str]:
    for line, found in zip(lines, sample.exemplars):
        yield line + _exemplar(found) if found else line


def _exemplar(found: Exemplar) -> str:
    ids = f'trace_id="{found.trace_id:032x}",span_id="{found.span_id:016x}"'
    return f" # {{{ids}}} {number(found.value)} {found.time:.3f}"
