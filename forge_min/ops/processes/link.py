"""Between the processes of one `serve`: the admin process asks, each serving process answers.

A serving process has one end of a pair of sockets, the admin process the other; a pipe from the
parent tells both of its end.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from ...observe import Snapshot, lasting, scrape, snapshot, summed
from ...observe.profiles import Question
from ..health import Health
from .inheritance import Counted, Inheritance
from .questions import ManyProcesses, answer, received, sent

PATIENCE = 2.0  # seconds that a process has for its answer
_BRIEF = 1.25  # seconds after which an answer is late: as long as a database has, and some more
_MESSAGE = 16  # bytes of a slot's number, at most

_State = tuple[bool, Mapping[str, Any]]
"""Ready, and the reasons why not."""


class Link:
    """A child's side of its parent: `ended` is called when the parent is gone.

    life: a pipe that the parent alone can write to. asked: where questions come from, of a serving
    process; answers come from `health`.
    """

    def __init__(self, life: int, asked: socket.socket | None, ready: int) -> None:
        self._life, self._ready = life, ready
        self._asked = None if asked is None else Connection(asked.detach())
        self._health: Health | None = None

    def start(self, health: Health, ended: Callable[[], object]) -> None:
        """Begin to listen, on the threads `parent` and `answers`."""
        self._health = health
        threading.Thread(target=self._watch, args=[ended], name="parent", daemon=True).start()
        if self._asked is not None:
            threading.Thread(target=self._answer, name="answers", daemon=True).start()

    def serving(self) -> None:
        """Tell the parent that this process has started. A second call does nothing."""
        ready, self._ready = self._ready, -1
        if ready >= 0:
            os.write(ready, b"1")
            os.close(ready)

    def _watch(self, ended: Callable[[], object]) -> None:
        os.read(self._life, 1)  # nobody writes: it ends with the parent
        ended()

    def _answer(self) -> None:
        """On a thread of its own: the database that `ready` asks may not answer."""
        asked, health = self._asked, self._health
        assert asked is not None and health is not None
        while True:
            try:
                question = asked.recv()
                if question is not None:
                    answer(health, question, received(asked))
                    continue
                running = health.running
                taken = snapshot(running.metrics.registry) if running else []
                asked.send((os.getpid(), health.ready(), taken))
            except (OSError, EOFError):
                asked.close()  # the admin process has ended; the next one gets another link
                return


class HealthOfMany(Health):
    """What the admin process tells: of itself, which answers no request, and of all that serve.

    control: where the parent sends the ends of links, each with its slot. inherited: what an
    earlier one of its kind has left of the counts.
    """

    def __init__(
        self,
        build: Mapping[str, Any],
        control: socket.socket,
        count: int,
        inherited: Inheritance,
    ) -> None:
        super().__init__(build)
        control.setblocking(False)
        self._control, self._count = control, count
        self._links: dict[int, Connection] = {}
        self._lock = threading.Lock()  # LOCK: links, and what was told; held for no answer
        self._round: threading.Event | None = None  # set once all have answered, or had their time
        self._left: list[Connection] = []  # links to nobody, which one may be waiting for
        self._asked: dict[int, float] = {}  # who owes an answer, and since when
        self._told: dict[int, _State] = {}  # what each has answered last
        self.inside = self._others = ManyProcesses(self._send, count)
        self._inherited = inherited
        self._gone, self._pids, latest = inherited.take()
        self._latest = {slot: lasting(taken) for slot, taken in latest.items()}

    def ready(self) -> tuple[bool, Mapping[str, Any]]:
        """Ready when each process is."""
        _, reasons = super().ready()
        found = dict(reasons)
        states = self._ask()
        for slot in range(self._count):
            _, why = states.get(slot, (False, {"process": "does not answer"}))
            found |= {f"process {slot + 1}: {name}": reason for name, reason in why.items()}
        return not found, found

    def metrics(self, accept: str = "") -> tuple[str, bytes]:
        """The metrics of all processes, those that have ended included."""
        # Its forge_ready asks all of them.
        own = snapshot(self.running.metrics.registry) if self.running else []
        if self.running is None:
            self._ask()
        with self._lock:
            gone = summed([lasting(own), self._gone])  # as it will be when this one is killed
            self._inherited.leave(Counted(gone, self._pids, self._latest))
            return scrape(summed([own, self._gone, *self._latest.values()]), accept)

    def counted(self) -> Snapshot:
        """What the plots show of all processes that answer now."""
        return summed([super().counted(), *self._others.counted()])

    def _send(self, slot: int, question: Question) -> Connection | None:
        """Ask one process; where its answer comes, None where it is gone."""
        with self._lock:
            self._take_links()
            link = self._links.get(slot)
            try:
                return None if link is None else sent(link, question)
            except OSError:
                self._drop(slot)
                return None

    def _ask(self) -> dict[int, _State]:
        """slot → (ready, reasons) of each process that answers in time. One asks; who comes
        meanwhile waits for that, and shares the next answers with all who did: those may not be
        older than his question. A process that hangs holds up nobody for a second time.
        """
        with self._lock:
            earlier = self._round
        if earlier is None or (earlier.wait(PATIENCE) and not self._late()):
            self._share()
        late = self._late()
        with self._lock:
            return {slot: state for slot, state in self._told.items() if slot not in late}

    def _share(self) -> None:
        """Ask all, or wait for the answers to one who has begun to."""
        with self._lock:
            asked_by_another, done = self._round, threading.Event()
            if asked_by_another is None:
                self._round = done
        if asked_by_another is not None:
            asked_by_another.wait(PATIENCE)
            return
        try:
            self._hear(self._put())
        finally:
            with self._lock:
                self._round = None
            done.set()

    def _late(self) -> set[int]:
        """Who owes an answer for long."""
        late = time.monotonic() - _BRIEF
        with self._lock:
            return {slot for slot, since in self._asked.items() if since < late}

    def _put(self) -> dict[Connection, int]:
        """Ask all; the links over which answers come, with their slots."""
        with self._lock:
            self._take_links()
            while self._left:
                self._left.pop().close()
            for slot, link in list(self._links.items()):
                try:
                    if slot not in self._asked:  # else it has not answered yet
                        link.send(None)
                        self._asked[slot] = time.monotonic()
                except OSError:
                    self._drop(slot)
            return {link: slot for slot, link in self._links.items()}

    def _hear(self, owing: dict[Connection, int]) -> None:
        """Their answers, all waited for at once."""
        until = time.monotonic() + PATIENCE
        while owing and (left := until - time.monotonic()) > 0:
            for link in wait(list(owing), left):
                assert isinstance(link, Connection)
                slot, answer = owing.pop(link), None
                with suppress(OSError, EOFError, pickle.UnpicklingError):
                    answer = link.recv()  # not under the lock: half an answer may come, and no more
                with self._lock:
                    if self._links.get(slot) is link:  # else another process has the slot now
                        self._take(slot, answer)

    def _take(self, slot: int, answer: tuple[int, _State, Snapshot] | None) -> None:
        if answer is None:
            self._drop(slot)
            return
        pid, self._told[slot], taken = answer
        self._asked.pop(slot, None)
        self._keep(slot, pid, taken)

    def _take_links(self) -> None:
        """Ends of links that the parent has sent meanwhile."""
        while True:
            try:
                message, fds, _, _ = socket.recv_fds(self._control, _MESSAGE, 1)
            except BlockingIOError:
                return
            if not message:
                return
            slot = int(message)
            self._drop(slot)
            self._links[slot] = Connection(fds[0])

    def _keep(self, slot: int, pid: int, taken: Snapshot) -> None:
        if self._pids.get(slot, pid) != pid:
            self._gone = summed([self._gone, lasting(self._latest[slot])])
        self._pids[slot], self._latest[slot] = pid, taken

    def _drop(self, slot: int) -> None:
        self._asked.pop(slot, None)
        self._told.pop(slot, None)
        link = self._links.pop(slot, None)
        if link is not None:
            self._left.append(link)
        if slot in self._latest:  # what stood at a value does so no more
            self._latest[slot] = lasting(self._latest[slot])
