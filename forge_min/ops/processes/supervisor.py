"""The parent of several processes: starts them, restarts those that die, and ends them all.

It has no threads, because it forks, opens no database connection and serves no requests. If it
dies, its children notice and end.
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
RESTART_INTERVAL = 1.0  # minimum seconds between two starts of one process
POLL_INTERVAL = 0.2  # seconds between two checks of the children without a signal
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Supervisor:
    """Runs named processes until a signal arrives.

    lives: by name, the main function of each process, which reports when it has started. The
    process "admin" ends last.
    patience: seconds that the processes have to end.
    delays: the processes wait before they end, until a second signal arrives.
    """

    def __init__(self, lives: Mapping[str, Run], patience: float, *, delays: bool) -> None:
        self._lives, self._delays = lives, delays
        self._children = ChildProcesses(patience)
        self._restarts: dict[str, float] = {}  # name → when it starts (time.monotonic())
        self._started: set[str] = set()  # names of processes that have reported once
        self._code = DONE
        self._ending = self._admin_ending = False

    def run(self) -> int:
        """Run until every process has ended, and return the exit code.

        It is not 0 if a process has to be killed or ends before its first start, in which case the
        process prints the error itself.
        """
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            for name in self._lives:
                self._start(name)
            while self._children.running or (self._restarts and not self._ending):
                received = signal.sigtimedwait(_SIGNALS, POLL_INTERVAL)
                if received is not None and received.si_signo != signal.SIGCHLD:
                    self._signalled()
                for child, code in self._children.reap().items():
                    self._ended(child, code)
                self._continue()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return self._code

    def _start(self, name: str) -> None:
        def live(life: int, ready: int) -> int:
            os.setpgid(0, 0)  # Ctrl-C reaches only the parent, which ends the children
            return self._lives[name](life, ready)

        self._children.fork(name, live)

    def _signalled(self) -> None:
        if self._ending and self._delays:
            self._delays = False
            self._send_all(signal.SIGUSR1)
        elif self._ending:
            for child in self._children.running:
                child.until = time.monotonic()
        self._end()

    def _ended(self, child: Child, code: int) -> None:
        if child.received:
            self._started.add(child.name)
        if self._ending:
            self._code = self._code or (FAILED if code < 0 else code)
        elif child.name not in self._started:
            self._code = code if code > 0 else FAILED
            self._end()
        else:
            names = (child.name, child.pid, code)
            log.error("process %s (pid %d) ended with exit code %d; it is started again", *names)
            self._restarts[child.name] = child.started + RESTART_INTERVAL

    def _continue(self) -> None:
        """Restart processes that are due, or end the admin process when it is the last one."""
        if not self._ending:
            now = time.monotonic()
            for name in [name for name, at in self._restarts.items() if now >= at]:
                del self._restarts[name]
                self._start(name)
        elif [child.name for child in self._children.running] == [ADMIN] and not self._admin_ending:
            self._admin_ending = True
            os.kill(self._children.running[0].pid, signal.SIGTERM)

    def _end(self) -> None:
        """Ask the serving processes to end, while the admin process still reports their state."""
        self._ending = True
        for child in self._children.running:
            child.until = child.until or time.monotonic() + self._children.patience
        self._send_all(signal.SIGTERM)

    def _send_all(self, number: signal.Signals) -> None:
        for child in self._children.running:
            if child.name != ADMIN:
                os.kill(child.pid, number)
