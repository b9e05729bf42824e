"""A flame graph as one SVG: the outermost calls on top, each as wide as its samples are many.

It needs no script and no style, so it works under any policy: what a frame is called and how much
it has is its title, which browsers show where the pointer is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from zlib import crc32

from ...fanout import escape
from ...lazy import lazy_pattern
from .sampling import Profile, Stack

_WIDTH, _ROW, _HEAD = 1200, 18, 56
_LETTER = 6.7  # width of one, in units of the drawing, of a 11 px monospace font
_NARROWEST = _WIDTH / 1000
_MOST = 20_000  # frames that are drawn
_FONT = 'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11"'
_NO_XML = lazy_pattern("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # XML 1.0, 2.2


class _Frame:
    """A call, and those that it made, by name."""

    __slots__ = ("below", "count")

    def __init__(self) -> None:
        self.count = 0
        self.below: dict[str, _Frame] = {}


def flame_graph(profile: Profile, title: str) -> str:
    """The SVG document. title: what was profiled; anything may stand in it."""
    root = _tree(profile.counts)
    drawn = list(_places(root))
    rows = max((row for _, _, row, _, _ in drawn), default=0) + 1
    height = _HEAD + rows * _ROW + 12
    about = (
        f"{root.count} samples in {profile.seconds:.1f} s at {profile.hz} Hz, {profile.clock} clock"
    )
    if not root.count:
        about += ": no thread had the processor; clock=wall shows who waits for what"
    shapes = [_shape(*place, root.count) for place in drawn]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" viewBox="0 0 {_WIDTH} {height}"'
        f' preserveAspectRatio="xMidYMin meet"'
        f' {_FONT} role="img"><title>{_text(title)}</title>'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fffdf8"/>'
        f'<text x="10" y="22" font-size="15" font-weight="bold" fill="#222">{_text(title)}</text>'
        f'<text x="10" y="42" fill="#555">{_text(about)}</text>\n' + "".join(shapes) + "</svg>\n"
    )


def _tree(counts: Mapping[Stack, int]) -> _Frame:
    root = _Frame()
    for stack, count in counts.items():
        frame = root
        frame.count += count
        for name in stack:
            frame = frame.below.setdefault(name, _Frame())
            frame.count += count
    return root


def _places(root: _Frame) -> Iterator[tuple[str, int, int, float, float]]:
    """(name, count, row, x, width) of what is wide enough to be seen, row by row."""
    scale = _WIDTH / (root.count or 1)
    level, row, left = [(root, 0.0)], 0, _MOST
    while level and left:
        below = []
        for frame, x in level:
            for name, child in sorted(frame.below.items()):
                width = child.count * scale
                if width >= _NARROWEST and left:
                    left -= 1
                    below.append((child, x))
                    yield name, child.count, row, x, width
                x += width
        level, row = below, row + 1


def _shape(name: str, count: int, row: int, x: float, width: float, total: int) -> str:
    y = _HEAD + row * _ROW
    drawn = max(width - 0.5, 0.7)
    told = f"{name} ({count} samples, {100 * count / total:.1f} %)"
    shown = _fitting(name, int((width - 6) / _LETTER))
    text = (
        f'<text x="{x + 3:.1f}" y="{y + 12.5}" fill="#111">{_text(shown)}</text>' if shown else ""
    )
    return (
        f'<g><title>{_text(told)}</title><rect x="{x:.1f}" y="{y}" width="{drawn:.1f}"'
        f' height="{_ROW - 1}" rx="1.5" fill="{colour(name)}"/>{text}</g>\n'
    )


def _fitting(name: str, letters: int) -> str:
    """The name, else the function's alone, else the beginning of that; "" where nothing fits."""
    short = name.rpartition(":")[2] or name
    if len(name) <= letters:
        return name
    if len(short) <= letters:
        return short
    return short[: letters - 1] + "\N{HORIZONTAL ELLIPSIS}" if letters > 2 else ""


def colour(name: str) -> str:
    """A warm one, the same for the same name wherever it stands; dark text can be read on it."""
    mark = crc32(name.encode("utf-8", "replace"))
    return f"#{225 + mark % 30:02x}{125 + (mark >> 8) % 100:02x}{60 + (mark >> 16) % 60:02x}"


def _text(value: str) -> str:
    return escape(_NO_XML.sub("?", value))
