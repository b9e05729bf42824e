"""Progress on stderr: one line per step with its time, on a terminal only."""

from __future__ import annotations

import sys


class Progress:
    """Tells of steps as they begin and end. quiet: tells nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._shown = not quiet and sys.stderr.isatty()

    def step(self, name: str, seconds: float | None) -> None:
        """A step begins (None) or has ended after so many seconds."""
        if not self._shown:
            return
        if seconds is None:
            print(f"{name} ...", end="", file=sys.stderr, flush=True)
        else:
            print(f"\r\x1b[K{step_line(name, seconds)}", file=sys.stderr, flush=True)


def step_line(name: str, seconds: float) -> str:
    """One finished step, for a person."""
    return f"{name:10} {seconds:6.2f} s"
