"""Metrics as Prometheus text 0.0.4.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from math import isinf, isnan

from .registry import AnyFamily, Registry, Sample
from .summed import Snapshot, Taken

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render_metrics(metrics: Registry | Snapshot) -> bytes:
    """Every metric as one scrape, UTF-8. Text that is no Unicode becomes `?`."""
    lines: list[str] = []
    for family in metrics.collect() if isinstance(metrics, Registry) else metrics:
        lines += _family(family)
    return "".join(line + "\n" for line in lines).encode("utf-8", "replace")


def _family(family: AnyFamily | Taken) -> Iterator[str]:
    yield f"# HELP {family.name} {_help(family.help)}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples():
        labels = [
            f'{name}="{_label(value)}"' for name, value in zip(family.label_names, sample.labels)
        ]
        if family.kind == "histogram":
            yield from _histogram(family, sample, labels)
        else:
            yield f"{family.name}{_braces(labels)} {_number(sample.value)}"


def _histogram(family: AnyFamily | Taken, sample: Sample, labels: list[str]) -> Iterator[str]:
    bounds = [*map(_number, family.bounds), "+Inf"]
    counts = list(accumulate(sample.buckets))
    for bound, count in zip(bounds, counts):
        inside = _braces([*labels, f'le="{bound}"'])
        yield f"{family.name}_bucket{inside} {count}"
    yield f"{family.name}_sum{_braces(labels)} {_number(sample.value)}"
    yield f"{family.name}_count{_braces(labels)} {counts[-1]}"


def _braces(labels: list[str]) -> str:
    return "{" + ",".join(labels) + "}" if labels else ""


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if isnan(value):
        return "NaN"
    if isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
