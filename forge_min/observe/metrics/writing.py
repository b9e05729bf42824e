"""What both text formats write alike: label sets, escapes, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from .family import AnyFamily, Labels, Sample
from .summed import Taken

AFamily = AnyFamily | Taken


def label_text(names: Labels, values: Labels) -> str:
    """`a="x",b="y"`, the values escaped; empty where there are no labels."""
    return ",".join([f'{name}="{escaped(value)}"' for name, value in zip(names, values)])


def escaped(text: str) -> str:
    """A label's value between its quotes."""
    # PERF: nearly none has anything to escape (benchmarks/observe, render).
    if "\\" in text or "\n" in text or '"' in text:
        text = text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text


def braced(labels: str) -> str:
    """A label set behind a name."""
    return f"{{{labels}}}" if labels else ""


def number(value: float) -> str:
    """A value; of whole numbers without a point."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def bucket_tails(bounds: Iterable[str]) -> list[str]:
    """What stands between the labels and the count of each bucket, +Inf last."""
    # PERF: once for a family, not for every label set (benchmarks/observe, render).
    return [f'le="{bound}"}} ' for bound in (*bounds, "+Inf")]


def buckets(name: str, labels: str, sample: Sample, tails: Iterable[str]) -> Iterator[str]:
    """The lines of a histogram's buckets, without line ends, as both formats have them."""
    head = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
    return (f"{head}{tail}{n}" for tail, n in zip(tails, accumulate(sample.buckets)))


def encoded(lines: list[str]) -> bytes:
    """The body, UTF-8. Text that is no Unicode becomes `?`."""
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")
