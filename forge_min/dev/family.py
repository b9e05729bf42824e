"""The processes of a parent that has no threads: forked, told of what is new, ended, waited for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ..ops.processes import fork

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_MOST_ENDING = 4  # processes that finish what they do while the next one serves
_TICK = 0.01  # seconds between looks after processes that end

Run = Callable[[int, int], int]
"""A child's life: takes the descriptor that news come by and the one that it tells by, gives its
exit code.
"""


@dataclass(eq=False)
class Child:
    """One process. name: what it does. news, told: the parent's ends of two pipes. until: when it
    is killed, once it has been asked to end. page: the number of what it serves.
    """

    name: str
    pid: int
    news: int
    told: int
    said: bytes = b""
    until: float = 0.0
    page: int = 0


class Family:
    """All of them. patience: seconds to end in."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._children: list[Child] = []

    def fork(self, name: str, live: Run) -> Child:
        """A new process."""
        (news, tell), (hear, told) = os.pipe(), os.pipe()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

        def begin() -> int:
            for fd in (tell, hear, *(fd for c in self._children for fd in (c.news, c.told))):
                with suppress(OSError):  # closed already
                    os.close(fd)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return live(news, told)

        pid = fork(begin)
        child = Child(name, pid, tell, hear)
        self._children.append(child)
        os.close(news)
        os.close(told)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child

    def tell(self, child: Child, line: bytes) -> None:
        """Write to it, if it still reads."""
        with suppress(OSError):
            os.write(child.news, line)

    def hear(self, child: Child) -> bool:
        """Read on of what it says, into `said`; whether that was the end of it."""
        data = os.read(child.told, 65536)
        child.said += data
        return not data

    def end(self, child: Child) -> None:
        """Ask it to end, by the end of its news; of those that do not, only the newest are left."""
        os.close(child.news)
        child.news = -1
        child.until = time.monotonic() + self.patience
        for late in [child for child in self._children if child.until][:-_MOST_ENDING]:
            self.kill(late)

    def kill(self, child: Child) -> None:
        """End it now."""
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        self._forget(child)

    def reap(self) -> dict[Child, int]:
        """Those that have ended since, with their exit codes, all heard. Kills who is late."""
        found = {}
        for child in list(self._children):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                while not self.hear(child):
                    pass
                self._forget(child)
                found[child] = os.waitstatus_to_exitcode(status)
            elif child.until and time.monotonic() > child.until:
                self.kill(child)
        return found

    def end_all(self) -> None:
        """Ask all, and wait. A KeyboardInterrupt kills them, and is not raised."""
        try:
            for child in self._children:
                with suppress(OSError):
                    os.close(child.news)
                child.news, child.until = -1, time.monotonic() + self.patience
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGTERM)
            while self._children:
                self.reap()
                time.sleep(_TICK)
        except KeyboardInterrupt:
            for child in list(self._children):
                self.kill(child)

    def _forget(self, child: Child) -> None:
        self._children.remove(child)
        for fd in (child.news, child.told):
            with suppress(OSError):
                os.close(fd)
        child.news = child.told = -1
