"""One check at a time: what it raises, or how long it takes, is no harm to the others."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .finding import Finding, broken, new_finding

PATIENCE = 8.0  # seconds that one check may take


class CheckTimeout(BaseException):
    """A check took too long. No Exception, or the code that is checked could catch it."""


def run_check(
    code: str, look: Callable[[], Iterable[Finding]], patience: float = PATIENCE
) -> list[Finding]:
    """What the check finds, and a failed finding of `code` where it raises or takes longer than
    `patience` seconds, which only the main thread can end. A person's KeyboardInterrupt passes.
    """
    results: list[Finding] = []
    try:
        with _within(patience):
            for one in look():
                results.append(one)
    except CheckTimeout as err:
        results.append(new_finding(code, "failed", str(err)))
    except KeyboardInterrupt:
        raise
    except BaseException as err:
        results.append(broken(code, err))
    return results


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raises Late in the block."""

    def late(number: int, frame: Any) -> None:
        raise CheckTimeout(f"no answer within {seconds:g} s")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
