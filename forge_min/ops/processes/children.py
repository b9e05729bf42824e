"""The child processes of a parent without threads: fork, send, read, end and reap."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from io import FileIO

from ..console import FAILED, run

log = logging.getLogger("forge_min")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_MOST_ENDING = 4  # processes that finish their work while the next one serves
_TICK = 0.01  # seconds between two checks for ended processes

Run = Callable[[int, int], int]
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

    def fork(self, name: str, live: Run) -> Child:
        """Start a process that runs `live`."""
        (inbox, write_end), (read_end, reports) = os.pipe(), os.pipe()
        to_child, from_child = FileIO(write_end, "w"), FileIO(read_end)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

        def begin() -> int:
            others = [pipe for c in self.running for pipe in (c.to_child, c.from_child)]
            for pipe in (to_child, from_child, *others):
                pipe.close()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            return live(inbox, reports)

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
        while data := child.from_child.read(65536):
            child.received += data
        return data is not None  # None: there may be more later

    def end(self, child: Child) -> None:
        """Ask a child to end by closing its pipe. Only the newest of the ending ones are kept."""
        child.to_child.close()
        child.until = time.monotonic() + self.patience
        for late in [child for child in self.running if child.until][:-_MOST_ENDING]:
            self.kill(late)

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


def _fork(live: Callable[[], int]) -> int:
    """Start a process that runs `live` and none of the parent's code; return its pid."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = FAILED
    # SAFETY: the child must not return into the parent's code or its exit handlers.
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
