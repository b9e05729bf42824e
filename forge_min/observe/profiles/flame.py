"""A flame graph as one SVG: the outermost calls on top, each as wide as its share of the samples.

It has neither scripts nor styles, so it works under any content security policy. The name and the
samples of a frame are its title, which browsers show as a tooltip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from zlib import crc32

from ...fanout import escape
from ...lazy import lazy_pattern
from .sampling import Profile, Stack

_WIDTH, _ROW, _HEAD = 1200, 18, 56
_LETTER = 6.7  # width of a letter of an 11 px monospace font, in units of the drawing
_NARROWEST = _WIDTH / 1000
_MOST = 20_000  # frames that are drawn
_FONT = 'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11"'
_NO_XML = lazy_pattern("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # XML 1.0, 2.2


def flame_graph(profile: Profile, title: str) -> str:
    """Return the SVG document. title: the name of the profiled processes, any text."""
    total = sum(profile.counts.values())
    drawn = list(_boxes(profile.counts, total))
    rows = max((row for _, _, row, _, _ in drawn), default=0) + 1
    height = _HEAD + rows * _ROW + 12
    about = f"{total} samples in {profile.seconds:.1f} s at {profile.hz} Hz, {profile.clock} clock"
    if not total:
        about += ": no thread used the processor; clock=wall shows waiting threads"
    shapes = [_shape(*box, total) for box in drawn]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" viewBox="0 0 {_WIDTH} {height}"'
        f' preserveAspectRatio="xMidYMin meet"'
        f' {_FONT} role="img"><title>{_text(title)}</title>'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fffdf8"/>'
        f'<text x="10" y="22" font-size="15" font-weight="bold" fill="#222">{_text(title)}</text>'
        f'<text x="10" y="42" fill="#555">{_text(about)}</text>\n' + "".join(shapes) + "</svg>\n"
    )


def _boxes(counts: Mapping[Stack, int], total: int) -> Iterator[tuple[str, int, int, float, float]]:
    """Yield (name, count, row, x, width) of each frame that is wide enough, row by row."""
    scale = _WIDTH / (total or 1)
    level, row, left = [(sorted(counts), 0.0)], 0, _MOST  # the stacks of each frame, and its x
    while level and left:
        below = []
        for stacks, x in level:
            deeper = (stack for stack in stacks if len(stack) > row)
            for name, group in groupby(deeper, key=itemgetter(row)):
                same = list(group)
                count = sum(counts[stack] for stack in same)
                width = count * scale
                if width >= _NARROWEST and left:
                    left -= 1
                    below.append((same, x))
                    yield name, count, row, x, width
                x += width
        level, row = below, row + 1


def _shape(name: str, count: int, row: int, x: float, width: float, total: int) -> str:
    y = _HEAD + row * _ROW
    drawn = max(width - 0.5, 0.7)
    title = f"{name} ({count} samples, {100 * count / total:.1f} %)"
    shown = _fitting(name, int((width - 6) / _LETTER))
    text = (
        f'<text x="{x + 3:.1f}" y="{y + 12.5}" fill="#111">{_text(shown)}</text>' if shown else ""
    )
    return (
        f'<g><title>{_text(title)}</title><rect x="{x:.1f}" y="{y}" width="{drawn:.1f}"'
        f' height="{_ROW - 1}" rx="1.5" fill="{colour(name)}"/>{text}</g>\n'
    )


def _fitting(name: str, letters: int) -> str:
    """Return the name, only its function, or the beginning of that; "" if nothing fits."""
    short = name.rpartition(":")[2] or name
    for text in (name, short):
        if len(text) <= letters:
            return text
    return short[: letters - 1] + "\N{HORIZONTAL ELLIPSIS}" if letters > 2 else ""


def colour(name: str) -> str:
    """Return a warm colour, always the same for a name, on which dark text is legible."""
    mark = crc32(name.encode("utf-8", "replace"))
    return f"#{225 + mark % 30:02x}{125 + (mark >> 8) % 100:02x}{60 + (mark >> 16) % 60:02x}"


def _text(value: str) -> str:
    return escape(_NO_XML.sub("?", value))
