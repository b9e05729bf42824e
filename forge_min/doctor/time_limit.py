"""Runs one check at a time: its error, or its time-out, does not affect the others."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .finding import Finding, format_error, new_finding

PATIENCE = 8.0  # seconds that one check may take


class CheckTimeout(BaseException):
    """A check took too long. Not an Exception, which the checked code could catch."""


def run_check(
    code: str, look: Callable[[], Iterable[Finding]], patience: float = PATIENCE
) -> list[Finding]:
    """Run a check and return its findings.

    An error, or a run of more than `patience` seconds, adds a failed finding of `code`. Call it on
    the main thread, which receives the signal at the time limit. A KeyboardInterrupt is raised.
    """
    results = []
    try:
        with _within(patience):
            for finding in look():
                results.append(finding)
    except CheckTimeout as err:
        results.append(new_finding(code, "failed", str(err)))
    except KeyboardInterrupt:
        raise
    except BaseException as err:
        results.append(new_finding(code, "failed", format_error(err)))
    return results


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise CheckTimeout in the block after these seconds."""

    def time_out(number: int, frame: Any) -> None:
        raise CheckTimeout(f"not finished within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, time_out)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
