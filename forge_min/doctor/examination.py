"""One check at a time: what it raises, or how long it takes, is no harm to the others. Code of
somebody else is looked at apart, in a process that can be killed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from .finding import Finding, broken, found

PATIENCE = 8.0  # seconds that one check may take


class Late(BaseException):
    """A check took too long. No Exception, or the code that is checked could catch it."""


class Unanswered(Exception):
    """What was done apart gave no answer; the message says why not."""


def attempt(
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
    except Late:
        results.append(found(code, "failed", f"no answer within {patience:g} s"))
    except KeyboardInterrupt:
        raise
    except BaseException as err:
        results.append(broken(code, err))
    return results


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raises Late in the block."""

    def late(number: int, frame: Any) -> None:
        raise Late

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


def apart(look: Callable[[], object], patience: float = PATIENCE) -> Any:
    """What `look` returns, as JSON gives it back, from a process of its own that is then killed
    with all that it has started: threads that go on, an alarm that is switched off and os._exit
    harm nobody. What it prints is on stderr. Raises Unanswered where it ends or takes longer.
    """
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_answer, args=(look, theirs))
    with warnings.catch_warnings(), ours:
        # Threads that the child lacks are its parent's alone; doctor itself has none.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
        theirs.close()
        try:
            if not wait([ours, process.sentinel], patience):
                raise Unanswered(f"no answer within {patience:g} s")
            return json.loads(ours.recv_bytes())
        except EOFError:
            raise Unanswered(_ending(process)) from None
        finally:
            _kill(process)


def _answer(look: Callable[[], object], theirs: Connection) -> None:
    os.setsid()  # what it starts is killed with it; no terminal asks it anything
    os.dup2(2, 1)
    with redirect_stdout(sys.stderr):
        answer = look()
    theirs.send_bytes(json.dumps(answer).encode())


def _kill(process: BaseProcess) -> None:
    assert (pid := process.pid)
    with suppress(ProcessLookupError):  # it had not come as far as to lead a group
        os.killpg(pid, signal.SIGKILL)
    process.kill()
    process.join()


def _ending(process: BaseProcess) -> str:
    """How a process that said nothing has ended."""
    process.join(1.0)
    if (status := process.exitcode or 0) < 0:
        return f"the process ended by {signal.Signals(-status).name}"
    return f"the process ended by os._exit({status})"
