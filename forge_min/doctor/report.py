"""The report of all findings, as text and as JSON."""

from __future__ import annotations

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
_PROGRAM = "forge-min "
_PROJECT_COMMANDS = ("generate", "build", "help")  # an artifact does not have them


class DoctorReport:
    """All findings of one run, sorted by code.

    strict: a warning counts as a failure.
    command: how this program was started, for the next commands.
    """

    def __init__(
        self, results: Sequence[Finding], profile: str, *, strict: bool, command: str = "forge-min"
    ) -> None:
        self.findings = [
            finding._replace(next=_typed(finding.next, command))
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


def _typed(next: str, command: str) -> str:
    """Return the command as it is typed here: an artifact is its own program."""
    words = next.removeprefix(_PROGRAM).split()
    if not next.startswith(_PROGRAM) or words[0] in _PROJECT_COMMANDS:
        return next
    return f"{command} {next.removeprefix(_PROGRAM)}"
