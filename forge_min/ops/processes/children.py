"""The child processes of a parent that has no threads: forked, told of news, ended, waited for."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ..console import FAILED, run

log = logging.getLogger("forge_min")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_MOST_ENDING = 4  # processes that finish what they do while the next one serves
_TICK = 0.01  # seconds between looks after processes that end

Run = Callable[[int, int], int]
"""A child's life: takes the descriptor of the news, which ends with the parent, and the one that it
reports by; returns its exit code.
"""


@dataclass(eq=False)
class Child:
    """One process.

    name: what it does. news, told: the parent's ends of two pipes. until: when it is killed, once
    it has been asked to end. page: the number of what it serves.
    """

    name: str
    pid: int
    to_child: int
    from_child: int
    received: bytes = b""
    until: float = 0.0
    page: int = 0
    started: float = field(default_factory=time.monotonic)


class ChildProcesses:
    """All child processes of this one.

    patience: seconds to end in. The children get the signal mask of now.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.running: list[Child] = []
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def fork(self, name: str, live: Run) -> Child:
        """A new process."""
        (news, ours), (theirs, told) = os.pipe(), os.pipe()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

        def begin() -> int:
            for fd in (
                ours,
                theirs,
                *(fd for c in self.running for fd in (c.to_child, c.from_child)),
            ):
                with suppress(OSError):  # closed already
                    os.close(fd)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            return live(news, told)

        child = Child(name, _fork(begin), ours, theirs)
        self.running.append(child)
        os.close(news)
        os.close(told)
        os.set_blocking(theirs, False)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child

    def send(self, child: Child, line: bytes) -> None:
        """Write to it, if it still reads."""
        with suppress(OSError):
            os.write(child.to_child, line)

    def read(self, child: Child) -> bool:
        """Read its reports into `said`; whether that was the end of them."""
        with suppress(BlockingIOError):
            while data := os.read(child.from_child, 65536):
                child.received += data
            return True
        return False

    def end(self, child: Child) -> None:
        """Ask it to end, by the end of its news; of those that do not, only the newest are left."""
        os.close(child.to_child)
        child.to_child = -1
        child.until = time.monotonic() + self.patience
        for late in [child for child in self.running if child.until][:-_MOST_ENDING]:
            self.kill(late)

    def kill(self, child: Child) -> None:
        """End it now."""
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        self._forget(child)

    def reap(self) -> dict[Child, int]:
        """Those that have ended since, with their exit codes. Kills those that are late."""
        found = {}
        for child in list(self.running):
            if 0 < child.until < time.monotonic():
                log.error("pid %d does not end and is killed", child.pid)
                os.kill(child.pid, signal.SIGKILL)
                child.until += self.patience
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self.read(child)
                self._forget(child)
                found[child] = os.waitstatus_to_exitcode(status)
        return found

    def end_all(self) -> None:
        """Ask all, and wait. A KeyboardInterrupt kills them, and is not raised."""
        try:
            for child in self.running:
                with suppress(OSError):
                    os.close(child.to_child)
                child.to_child, child.until = -1, time.monotonic() + self.patience
                os.kill(child.pid, signal.SIGTERM)
            while self.running:
                self.reap()
                time.sleep(_TICK)
        except KeyboardInterrupt:
            for child in list(self.running):
                self.kill(child)

    def _forget(self, child: Child) -> None:
        self.running.remove(child)
        for fd in (child.to_child, child.from_child):
            with suppress(OSError):
                os.close(fd)
        child.to_child = child.from_child = -1


def _fork(live: Callable[[], int]) -> int:
    """A process that does `live`, and nothing of what its parent does; its pid."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = FAILED
    # SAFETY: nothing may go on from here into what the parent does when it ends.
    try:
        code = run(live)
    except SystemExit as end:  # of user code
        code = end.code if isinstance(end.code, int) else FAILED
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    finally:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
