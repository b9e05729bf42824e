"""The report of all findings, as text and as JSON."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
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
_WIDTH, _MARGIN = 100, " " * 17
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
        self.findings = [
            finding._replace(next=_PROGRAM.sub(lambda _: f"{command} ", finding.next))
            for finding in sorted(results, key=lambda finding: finding.code)
        ]
        self.counts = Counter(finding.state for finding in results)
        self.good = not (self.counts["failed"] or (strict and self.counts["warning"]))
        self._profile = profile

    def document(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "profile": self._profile,
            "good": self.good,
            "counts": {state: self.counts[state] for state in _COLOURS},
            "findings": [one._asdict() for one in self.findings],
        }

    def lines(self, *, colour: bool) -> Iterator[str]:
        """Yield the report as text, by groups. Failures have their reason and the next command."""
        group = ""
        for one in self.findings:
            if group != (group := GROUPS[one.code[:2]]):
                yield group
            message, state = printable(one.message), f"{one.state:7}"
            state = f"\x1b[{_COLOURS[one.state]}m{state}\x1b[0m" if colour else state
            code = linked(one.code) if colour else one.code
            yield f"  {state}  {code}  {one.subject}: {message}"
            if one.next:
                for line in textwrap.wrap(one.why, _WIDTH - len(_MARGIN)):
                    yield _MARGIN + line
                yield f"{_MARGIN}next: {printable(one.next)}"
        counts = ", ".join(f"{self.counts[state]} {state}" for state in _COLOURS)
        yield f"{counts} (profile {self._profile})"
