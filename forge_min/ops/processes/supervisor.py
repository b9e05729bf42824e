"""The parent of several processes: starts them, starts another where one dies, ends them all.

It has no threads, because it forks; it opens no database and answers no request. Where it dies, its
children hear of that and end.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Mapping

from ..console import DONE, FAILED
from .children import Child, ChildProcesses, Run
from .parent_channel import ADMIN

log = logging.getLogger("forge_min")
AGAIN = 1.0  # seconds between two starts of one process, at least
LOOK = 0.2  # seconds between looks after children without a signal
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Supervisor:
    """Runs the processes of `lives`, by name, until a signal comes. "admin" ends last.

    A process reports when it has started. patience: seconds that they have to end. delays: they
    wait before they do, until a second signal comes. `run` gives the exit code: not 0 where a
    process ends before it has once started, whose error it has told itself, or has to be killed.
    """

    def __init__(self, lives: Mapping[str, Run], patience: float, *, delays: bool) -> None:
        self._lives, self._delays = lives, delays
        self._children = ChildProcesses(patience)
        self._again: dict[str, float] = {}  # name → when to start it
        self._known: set[str] = set()  # names of processes that have started once
        self._code = DONE
        self._ending = self._admin_told = False

    def run(self) -> int:
        """Returns when every process has ended."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            for name in self._lives:
                self._start(name)
            while self._children.running or (self._again and not self._ending):
                got = signal.sigtimedwait(_SIGNALS, LOOK)
                if got is not None and got.si_signo != signal.SIGCHLD:
                    self._signalled()
                for child, code in self._children.reap().items():
                    self._ended(child, code)
                self._go_on()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return self._code

    def _start(self, name: str) -> None:
        def live(life: int, ready: int) -> int:
            os.setpgid(0, 0)  # Ctrl-C is for the parent, which tells us
            return self._lives[name](life, ready)

        self._children.fork(name, live)

    def _signalled(self) -> None:
        if self._ending and self._delays:
            self._delays = False
            self._send_all(signal.SIGUSR1)
        elif self._ending:  # at once
            for child in self._children.running:
                child.until = time.monotonic()
        self._end()

    def _ended(self, child: Child, code: int) -> None:
        if child.received:
            self._known.add(child.name)
        if self._ending:
            self._code = self._code or (FAILED if code < 0 else code)
        elif child.name not in self._known:
            self._code = code if code > 0 else FAILED
            self._end()
        else:
            told = (child.name, child.pid, code)
            log.error("process %s (pid %d) ended with %d; another begins", *told)
            self._again[child.name] = child.started + AGAIN

    def _go_on(self) -> None:
        """Start what is due again; end the admin process last."""
        if not self._ending:
            now = time.monotonic()
            for name in [name for name, at in self._again.items() if now >= at]:
                del self._again[name]
                self._start(name)
        elif [child.name for child in self._children.running] == [ADMIN] and not self._admin_told:
            self._admin_told = True
            os.kill(self._children.running[0].pid, signal.SIGTERM)

    def _end(self) -> None:
        """Ask the serving processes to end; the admin process tells of that meanwhile."""
        self._ending = True
        for child in self._children.running:
            child.until = child.until or time.monotonic() + self._children.patience
        self._send_all(signal.SIGTERM)

    def _send_all(self, number: signal.Signals) -> None:
        for child in self._children.running:
            if child.name != ADMIN:
                os.kill(child.pid, number)
