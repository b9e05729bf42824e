"""The parent of several processes: starts them, starts another where one dies, ends them all.

It has no threads, because it forks; it opens no database and answers no request. Where it dies, its
children hear of that and end.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..door import DONE, FAILED, run
from .link import Link

log = logging.getLogger("forge_min")
ADMIN = -1  # the slot of the admin process; the others count from 0
AGAIN = 1.0  # seconds between two starts of one slot, at least
LOOK = 0.2  # seconds between looks after children without a signal
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

Serve = Callable[[int, Link], int]
"""What a serving process does: takes its slot, gives the exit code."""

Admin = Callable[[Link, socket.socket], int]
"""What the admin process does, with the socket that the links to the others come by."""


@dataclass
class Child:
    """One process. ready: the pipe that it writes to once it has started, None afterwards."""

    pid: int
    started: float
    ready: int | None


def fork(live: Callable[[], int]) -> int:
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


class Supervisor:
    """Runs `count` processes of `serve` and, where given, one of `admin`, until a signal comes.

    patience: seconds that they have to end. delays: they wait before they do, until a second signal
    comes. `run` gives the exit code: not 0 where a process ends
    before it has once started, whose error it has told itself, or has to be killed.
    """

    def __init__(
        self,
        serve: Serve,
        admin: Admin | None,
        count: int,
        patience: float,
        *,
        delays: bool = False,
    ) -> None:
        self._delays = delays
        self._serve, self._admin, self._patience = serve, admin, patience
        self._slots = [*([ADMIN] if admin else []), *range(count)]
        self._children: dict[int, Child] = {}
        self._links: dict[int, socket.socket] = {}  # the admin process's ends
        self._control: socket.socket | None = None
        self._unsent: set[int] = set()  # slots whose link the admin process has not got yet
        self._again: dict[int, float] = {}  # slot → when to start it
        self._known: set[int] = set()  # slots whose process has started once
        self._code = DONE
        self._until = 0.0  # when to kill what has not ended; 0: nothing is ending
        self._admin_told = False  # to end

    def run(self) -> int:
        """Returns when every process has ended."""
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._life = os.pipe()
        try:
            for slot in self._slots:
                self._start(slot)
            while self._children or (self._again and not self._until):
                got = signal.sigtimedwait(_SIGNALS, LOOK)
                if got is not None and got.si_signo != signal.SIGCHLD:
                    if self._until and self._delays:
                        self._delays = False
                        self._send_all(signal.SIGUSR1)
                    elif self._until:  # at once
                        self._until = time.monotonic()
                    self._end()
                self._reap()
                self._go_on()
                self._send()
        finally:
            for fd in self._life:
                os.close(fd)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        return self._code

    def _start(self, slot: int) -> None:
        ready, told = os.pipe()
        if slot == ADMIN:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._control.setblocking(False)
        else:
            self._links[slot], theirs = socket.socketpair()
        pid = fork(lambda: self._live(slot, theirs, ready, told))
        os.close(told)
        theirs.close()
        self._children[slot] = Child(pid, time.monotonic(), ready)
        os.set_blocking(ready, False)
        self._unsent |= set(self._links) if slot == ADMIN else {slot}

    def _live(self, slot: int, theirs: socket.socket, ready: int, told: int) -> int:
        """A child's life."""
        os.setpgid(0, 0)  # Ctrl-C is for the parent, which tells us
        os.close(self._life[1])
        os.close(ready)
        for end in [*self._links.values(), self._control]:
            if end is not None:
                end.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        if slot != ADMIN:
            return self._serve(slot, Link(self._life[0], theirs, told))
        assert self._admin is not None
        return self._admin(Link(self._life[0], None, told), theirs)

    def _send(self) -> None:
        """Give the admin process its ends of links, as far as it takes them."""
        for slot in sorted(self._unsent & self._links.keys()) if self._control else ():
            assert self._control is not None
            try:
                socket.send_fds(self._control, [b"%d" % slot], [self._links[slot].fileno()])
            except BlockingIOError:
                return
            except OSError:
                pass  # it is gone, and gets all of them when it comes again
            self._unsent.discard(slot)

    def _reap(self) -> None:
        for slot, child in list(self._children.items()):
            if child.ready is None or self._has_started(child):
                self._known.add(slot)
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            del self._children[slot]
            if child.ready is not None:
                os.close(child.ready)
            code = os.waitstatus_to_exitcode(status)
            if self._until:
                self._code = self._code or (FAILED if code < 0 else code)
            elif slot not in self._known:
                self._code = code if code > 0 else FAILED
                self._end()
            else:
                name = "admin" if slot == ADMIN else str(slot + 1)
                log.error("process %s (pid %d) ended with %d; another begins", name, pid, code)
                self._again[slot] = child.started + AGAIN

    def _has_started(self, child: Child) -> bool:
        assert child.ready is not None
        try:
            told = os.read(child.ready, 1)
        except BlockingIOError:
            return False
        if told:
            os.close(child.ready)
            child.ready = None
        return bool(told)

    def _go_on(self) -> None:
        """Start what is due again; kill what does not end; end the admin process last."""
        now = time.monotonic()
        if not self._until:
            for slot in [slot for slot, at in self._again.items() if now >= at]:
                del self._again[slot]
                self._start(slot)
        elif now > self._until:
            for child in self._children.values():
                log.error("pid %d does not end and is killed", child.pid)
                os.kill(child.pid, signal.SIGKILL)
            self._until = now + self._patience
        elif list(self._children) == [ADMIN] and not self._admin_told:
            self._admin_told = True
            os.kill(self._children[ADMIN].pid, signal.SIGTERM)

    def _end(self) -> None:
        """Ask the serving processes to end; the admin process tells of that meanwhile."""
        if not self._until:
            self._until = time.monotonic() + self._patience
        self._send_all(signal.SIGTERM)

    def _send_all(self, number: signal.Signals) -> None:
        for slot, child in self._children.items():
            if slot != ADMIN:
                os.kill(child.pid, number)
