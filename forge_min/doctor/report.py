"""What was found, for a person and for a program."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import printable
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
"""The first characters of a code, and what they are about."""
_COLOURS: dict[State, str] = {"failed": "31", "warning": "33", "skipped": "2", "ok": "32"}
_WIDTH, _MARGIN = 100, " " * 17
_OURS = "forge-min "
# What only a project's folder has: its artifact is no help there.
_AT_HOME = ("generate", "build", "help")


class DoctorReport:
    """All findings of one look, by code. strict: a warning is a failure, too. command: how this
    program was started, for the commands to type.
    """

    def __init__(
        self, results: Sequence[Finding], profile: str, *, strict: bool, command: str = "forge-min"
    ) -> None:
        self.findings = [
            one._replace(next=_typed(one.next, command))
            for one in sorted(results, key=lambda one: one.code)
        ]
        self.counts = Counter(one.state for one in results)
        self.good = not (self.counts["failed"] or (strict and self.counts["warning"]))
        self._profile = profile

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "profile": self._profile,
            "good": self.good,
            "counts": {state: self.counts[state] for state in _COLOURS},
            "findings": [one._asdict() for one in self.findings],
        }

    def lines(self, *, colour: bool) -> Iterator[str]:
        """For a person: group by group; of what is wrong also why it matters and what to type."""
        group = ""
        for one in self.findings:
            if group != (group := GROUPS[one.code[:2]]):
                yield group
            said = printable(one.message)
            yield f"  {_state(one, colour)}  {one.code}  {one.subject}: {said}"
            if one.next:
                for line in textwrap.wrap(one.why, _WIDTH - len(_MARGIN)):
                    yield _MARGIN + line
                yield f"{_MARGIN}next: {printable(one.next)}"
        counts = ", ".join(f"{self.counts[state]} {state}" for state in _COLOURS)
        yield f"{counts} (profile {self._profile})"


def _state(one: Finding, colour: bool) -> str:
    text = f"{one.state:7}"
    return f"\x1b[{_COLOURS[one.state]}m{text}\x1b[0m" if colour else text


def _typed(next: str, command: str) -> str:
    """The command as it is typed here: an artifact is its own program."""
    words = next.removeprefix(_OURS).split()
    if not next.startswith(_OURS) or words[0] in _AT_HOME:
        return next
    return f"{command} {next.removeprefix(_OURS)}"
