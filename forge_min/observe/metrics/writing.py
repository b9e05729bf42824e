"""What both text formats write alike: label sets, escapes, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from .family import AnyFamily, Labels, Sample
from .summed import Taken

AFamily = AnyFamily | Taken


class LabelText:
    """Writes the label sets of one family: `a="x",b="y"`, the values escaped."""

    def __init__(self, names: Labels) -> None:
        self._form = ",".join(f'{name}="%s"' for name in names)
        self._quotes = 2 * len(names)

    def __call__(self, values: Labels) -> str:
        """The text of these values; empty where there are no labels."""
        # PERF: a form, and a look at the whole: nearly none has anything to escape, and to ask each
        # value costs three times as much (benchmarks/observe, 10000 text).
        text = self._form % values
        if text.count('"') != self._quotes or "\\" in text or "\n" in text:
            text = self._form % tuple(map(escaped, values))
        return text


def escaped(text: str) -> str:
    """A label's value between its quotes."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def braced(labels: str) -> str:
    """A label set behind a name."""
    return f"{{{labels}}}" if labels else ""


def number(value: float) -> str:
    """A value; of whole numbers without a point."""
    try:
        whole = int(value)
    except (ValueError, OverflowError):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    return str(whole) if whole == value and -1e15 < whole < 1e15 else repr(float(value))


def bucket_tails(bounds: Iterable[str]) -> list[str]:
    """What stands between the labels and the count of each bucket, +Inf last."""
    # PERF: once for a family, not for every label set (benchmarks/observe, 10000 text).
    return [f'le="{bound}"}} ' for bound in (*bounds, "+Inf")]


def buckets(name: str, labels: str, sample: Sample, tails: Iterable[str]) -> Iterator[str]:
    """The lines of a histogram's buckets, without line ends, as both formats have them."""
    head = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
    return (f"{head}{tail}{n}" for tail, n in zip(tails, accumulate(sample.buckets)))


def encoded(lines: list[str]) -> bytes:
    """The body, UTF-8."""
    lines.append("")
    return "\n".join(lines).encode()
