"""What `doctor` asks of a project's folder alone: whether what is made is of its sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ..doctor import Finding, join_names, new_finding, verdict
from ..generate import generate
from ..ship import parse_schemas, stylesheet_state


def check_generated(root: Path) -> Iterator[Finding]:
    """gen/ against resources/ and views/."""
    parsed = parse_schemas(root)
    if parsed.diagnostics:
        first, *more = parsed.diagnostics
        rest = f" and {len(more)} more" if more else ""
        yield new_finding("D211", "failed", f"{first.file}:{first.line}: {first.message}{rest}")
        return
    report = generate(root, parsed.resources, check=True)
    stale = [*report.written, *report.removed]
    message = f"{len(stale)} files are stale: {join_names(stale)}" if stale else ""
    yield verdict("D211", "warning", message, "is up to date")


def check_stylesheet(root: Path) -> Iterator[Finding]:
    """static/css/app.css against what it was made from."""
    states = {
        "none": ("ok", "no Tailwind is asked for"),
        "fresh": ("ok", "is of these files"),
        "missing": ("failed", "was never made"),
        "stale": ("warning", "was made from other files"),
        "edited": ("failed", "was edited since build made it"),
        "foreign": ("failed", "was made by no build, which would have to write over it"),
    }
    state, message = states[stylesheet_state(root)]
    yield new_finding("D212", state, message)  # type: ignore[arg-type]


CHECKS: Mapping[str, Callable[[Path], Iterable[Finding]]] = {
    "D211": check_generated,
    "D212": check_stylesheet,
}
