"""The child processes of a parent without threads, and the supervisor that restarts those that die.

The parent opens no database connection and serves no requests. If it dies, its children notice and
end.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import FileIO

from ..console import DONE, FAILED, run
from .parent_channel import ADMIN

log = logging.getLogger("forge_min")
RESTART_INTERVAL = 1.0  # minimum seconds between two starts of one process
MARGIN = 10.0  # seconds beyond all timeouts after which a process that does not end is killed
POLL_INTERVAL = 0.2  # seconds between two checks of the children without a signal
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SIGNALS = (*_END_SIGNALS, signal.SIGCHLD)
_MOST_ENDING = 4  # processes that finish their work while the next one serves
_TICK = 0.01  # seconds between two checks for ended processes

Main = Callable[[int, int], int]
"""The main function of a child. It takes two file descriptors: the reading end of the pipe from the
parent, which ends with the parent, and the writing end of the pipe for reports. Returns the exit
code.
"""


@dataclass(eq=False)
class Child:
    """One process.

    name: its purpose.
    to_child, from_child: the parent's ends of two pipes, unbuffered; reading never blocks.
    received: bytes that the child has reported.
    until: time.monotonic() at which it is killed; 0.0 unless it has been asked to end.
    page: number of the state that it serves, in development.
    """

    name: str
    pid: int
    to_child: FileIO
    from_child: FileIO
    received: bytes = b""
    until: float = 0.0
    page: int = 0
    started: float = field(default_factory=time.monotonic)


class ChildProcesses:
    """All child processes of this process.

    patience: seconds that a child has to end. The children get the current signal mask.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.running: list[Child] = []
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def fork(self, name: str, main: Main) -> Child:
        """Start a process that runs `main`."""
        inbox, write_end = os.pipe()
        read_end, reports = os.pipe()
        to_child = FileIO(write_end, "w")
        from_child = FileIO(read_end)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _END_SIGNALS)

        def begin() -> int:
            to_child.close()
            from_child.close()
            for other in self.running:
                other.to_child.close()
                other.from_child.close()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            return main(inbox, reports)

        child = Child(name, _fork(begin), to_child, from_child)
        self.running.append(child)
        os.close(inbox)
        os.close(reports)
        os.set_blocking(read_end, False)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child

    def send(self, child: Child, line: bytes) -> None:
        """Write to the child, if it still reads."""
        with suppress(OSError, ValueError):  # ValueError: it is closed
            child.to_child.write(line)

    def read(self, child: Child) -> bool:
        """Read the child's reports into `received`; return whether they have ended."""
        data = child.from_child.read(65536)
        while data:
            child.received += data
            data = child.from_child.read(65536)
        return data is not None  # None: there may be more later

    def end(self, child: Child) -> None:
        """Ask a child to end by closing its pipe. Only the newest of the ending ones are kept."""
        child.to_child.close()
        child.until = time.monotonic() + self.patience
        ending = [child for child in self.running if child.until]
        for child in ending[:-_MOST_ENDING]:
            self.kill(child)

    def kill(self, child: Child) -> None:
        """Kill the child and wait for it."""
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        self._forget(child)

    def reap(self) -> dict[Child, int]:
        """Return the ended children with their exit codes. Kills those past their deadline."""
        ended = {}
        for child in list(self.running):
            if 0 < child.until < time.monotonic():
                log.error("pid %d did not end in time and is killed", child.pid)
                os.kill(child.pid, signal.SIGKILL)
                child.until += self.patience
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self.read(child)
                self._forget(child)
                ended[child] = os.waitstatus_to_exitcode(status)
        return ended

    def end_all(self) -> None:
        """Ask all children to end, and wait. A KeyboardInterrupt kills them, and is not raised."""
        try:
            for child in self.running:
                child.to_child.close()
                child.until = time.monotonic() + self.patience
                os.kill(child.pid, signal.SIGTERM)
            while self.running:
                self.reap()
                time.sleep(_TICK)
        except KeyboardInterrupt:
            for child in list(self.running):
                self.kill(child)

    def _forget(self, child: Child) -> None:
        self.running.remove(child)
        child.to_child.close()
        child.from_child.close()


def _fork(main: Callable[[], int]) -> int:
    """Start a process that runs `main` and none of the parent's code; return its pid."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = FAILED
    # SAFETY: the child must not return into the parent's code or its exit handlers.
    try:
        code = run(main)
    except SystemExit as end:  # of user code
        if isinstance(end.code, int):
            code = end.code
        elif isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    finally:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)


class Supervisor:
    """Runs named processes until a signal arrives.

    mains: by name, the main function of each process, which reports when it has started. The
    process "admin" ends last.
    patience: seconds that the processes have to end.
    delays: the processes wait before they end, until a second signal arrives.
    """

    def __init__(self, mains: Mapping[str, Main], patience: float, *, delays: bool) -> None:
        self._mains = mains
        self._delays = delays
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
            for name in self._mains:
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
        def main(from_parent: int, ready: int) -> int:
            os.setpgid(0, 0)  # Ctrl-C reaches only the parent, which ends the children
            return self._mains[name](from_parent, ready)

        self._children.fork(name, main)

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
            if code < 0:
                code = FAILED
            self._code = self._code or code
        elif child.name not in self._started:
            self._code = code if code > 0 else FAILED
            self._end()
        else:
            message = "process %s (pid %d) ended with exit code %d; it is started again"
            log.error(message, child.name, child.pid, code)
            self._restarts[child.name] = child.started + RESTART_INTERVAL

    def _continue(self) -> None:
        """Restart processes that are due, or end the admin process when it is the last one."""
        if not self._ending:
            now = time.monotonic()
            for name, due in list(self._restarts.items()):
                if now >= due:
                    del self._restarts[name]
                    self._start(name)
            return
        running = self._children.running
        if [child.name for child in running] == [ADMIN] and not self._admin_ending:
            self._admin_ending = True
            os.kill(running[0].pid, signal.SIGTERM)

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
