"""The report of all findings, as text and as JSON."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from ..errors import printable
from ..resources import linked
from .finding import Finding, State

GROUPS = {
    "D1": "program",
    "D2": "files",
    "D3": "configuration",
    "D4": "machine",
    "D5": "database",
    "D6": "role",
    "D7": "jobs",
}
"""The subject of the codes that begin with these characters."""
_COLOURS: dict[State, str] = {"failed": "31", "warning": "33", "skipped": "2", "ok": "32"}
_WIDTH = 100
_MARGIN = " " * 17
# An artifact is its own program, and does not have these commands.
_PROGRAM = re.compile(r"\Aforge-min (?!(?:generate|build|help)\b)")


class DoctorReport:
    """All findings of one run, sorted by code.

    strict: a warning counts as a failure.
    command: how this program was started, for the next commands.
    """

    def __init__(
        self, results: Sequence[Finding], profile: str, *, strict: bool, command: str = "forge-min"
    ) -> None:
        self.findings: list[Finding] = []
        for finding in sorted(results, key=lambda finding: finding.code):
            step = _PROGRAM.sub(lambda _: f"{command} ", finding.next)
            self.findings.append(finding._replace(next=step))
        self.counts = Counter(finding.state for finding in results)
        self.good = not (self.counts["failed"] or (strict and self.counts["warning"]))
        self._profile = profile

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "profile": self._profile,
            "good": self.good,
            "counts": {state: self.counts[state] for state in _COLOURS},
            "findings": [finding._asdict() for finding in self.findings],
        }

    def lines(self, *, colour: bool) -> Iterator[str]:
        """Yield the report as text, by groups. Failures have their reason and the next command."""
        for group, findings in groupby(self.findings, lambda finding: GROUPS[finding.code[:2]]):
            yield group
            for finding in findings:
                yield from _finding_lines(finding, colour)
        counts = ", ".join(f"{self.counts[state]} {state}" for state in _COLOURS)
        yield f"{counts} (profile {self._profile})"


def _finding_lines(finding: Finding, colour: bool) -> Iterator[str]:
    state = f"{finding.state:7}"
    code = finding.code
    if colour:
        state = f"\x1b[{_COLOURS[finding.state]}m{state}\x1b[0m"
        code = linked(code)
    yield f"  {state}  {code}  {finding.subject}: {printable(finding.message)}"
    if finding.next:
        for line in textwrap.wrap(finding.why, _WIDTH - len(_MARGIN)):
            yield _MARGIN + line
        yield f"{_MARGIN}next: {printable(finding.next)}"
