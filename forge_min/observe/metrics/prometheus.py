"""Metrics as Prometheus text 0.0.4.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from .registry import Registry
from .summed import Snapshot
from .writing import AFamily, LabelText, braced, bucket_tails, buckets, encoded, number

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render_metrics(metrics: Registry | Snapshot) -> bytes:
    """Every metric as one scrape, UTF-8. Of text that is no Unicode see `family.plain`."""
    lines: list[str] = []
    for family in metrics.collect() if isinstance(metrics, Registry) else metrics:
        kind = "gauge" if family.kind == "info" else family.kind
        lines.append(f"# HELP {family.name} {_help(family.help)}")
        lines.append(f"# TYPE {family.name} {kind}")
        if kind == "histogram":
            _add_histograms(lines, family)
        else:
            _add_values(lines, family)
    return encoded(lines)


def _add_values(lines: list[str], family: AFamily) -> None:
    name, label_text = family.name, LabelText(family.label_names)
    for sample in family.samples():
        lines.append(f"{name}{braced(label_text(sample.labels))} {number(sample.value)}")


def _add_histograms(lines: list[str], family: AFamily) -> None:
    name, tails = family.name, bucket_tails(map(number, family.bounds))
    label_text = LabelText(family.label_names)
    for sample in family.samples():
        labels = label_text(sample.labels)
        inside = braced(labels)
        lines += buckets(name, labels, sample, tails)
        lines.append(f"{name}_sum{inside} {number(sample.value)}")
        lines.append(f"{name}_count{inside} {sum(sample.buckets)}")


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
