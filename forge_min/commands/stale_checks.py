"""Checks of `doctor` for a project's folder: whether generated files match their sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ..doctor import Finding, join_names, new_finding, verdict
from ..generate import generate
from ..ship import parse_schemas, stylesheet_state


def check_generated(root: Path) -> Iterator[Finding]:
    """Check gen/ against resources/ and views/."""
    parsed = parse_schemas(root)
    mistakes = [f"{d.file}:{d.line}: {d.message}" for d in parsed.diagnostics]
    if mistakes:
        yield new_finding("D211", "failed", join_names(mistakes, most=1))
        return
    report = generate(root, parsed.resources, check=True)
    stale = [*report.written, *report.removed]
    message = ""
    if stale:
        message = f"{len(stale)} files are stale: {join_names(stale)}"
    yield verdict("D211", "warning", message, "is up to date")


def check_stylesheet(root: Path) -> Iterator[Finding]:
    """Check static/css/app.css against its sources."""
    states = {
        "none": ("ok", "the project does not use Tailwind"),
        "fresh": ("ok", "is up to date"),
        "missing": ("failed", "is missing; run: forge-min build"),
        "stale": ("warning", "is older than its sources; run: forge-min build"),
        "edited": ("failed", "was edited after the build"),
        "foreign": ("failed", "was not written by a build, which would overwrite it"),
    }
    state, message = states[stylesheet_state(root)]
    yield new_finding("D212", state, message)  # type: ignore[arg-type]


CHECKS: Mapping[str, Callable[[Path], Iterable[Finding]]] = {
    "D211": check_generated,
    "D212": check_stylesheet,
}
