"""The health of a site of several processes, as its admin process reports it."""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

from ...admin import Told
from ...observe import SingleFlight, Snapshot, lasting, scrape, snapshot, summed
from ..health import Health
from .parent_channel import COUNTED, PATIENCE, STATE, ChildInspector

_HEAD = Struct("<QI")  # bytes, and their checksum


class Counted(NamedTuple):
    """What an admin process has counted.

    gone: the sums of processes that have ended. pids, latest: by name, the process that answered
    last, and its metrics.
    """

    gone: Snapshot
    pids: dict[str, int]
    latest: dict[str, Snapshot]


class CounterMemory:
    """Memory of the parent (memfd_create(2)), so that no counter falls when the admin process dies.

    One process writes at a time.
    """

    def __init__(self) -> None:
        self._fd = os.memfd_create("forge-counted")

    def save(self, counted: Counted) -> None:
        """Keep this in place of the earlier one, which stays when there is no memory."""
        data = pickle.dumps(counted)
        with suppress(OSError):
            os.pwrite(self._fd, _HEAD.pack(len(data), crc32(data)) + data, 0)

    def load(self) -> Counted:
        """The latest one; an empty one if a kill interrupted its writing."""
        if head := os.pread(self._fd, _HEAD.size, 0):
            size, checksum = _HEAD.unpack(head)
            data = os.pread(self._fd, size, _HEAD.size)
            if crc32(data) == checksum:
                counted: Counted = pickle.loads(data)
                return counted
        return Counted([], {}, {})


class SiteHealth(Health):
    """The health of the admin process, which answers no request, and of all that serve.

    links: as of `ChildInspector`. memory: the counts that the admin process before this one left.
    """

    def __init__(
        self, build: Mapping[str, Any], links: Sequence[socket.socket], memory: CounterMemory
    ) -> None:
        super().__init__(build)
        self.inspector = self._others = ChildInspector(links)
        self._states = SingleFlight(self._ask, 2 * PATIENCE)
        self._lock = threading.Lock()  # LOCK: the counts
        self._memory = memory
        self._gone, self._pids, latest = memory.load()
        self._latest = {name: lasting(taken) for name, taken in latest.items()}

    def ready(self) -> tuple[bool, Mapping[str, Any]]:
        """Ready when each process is."""
        _, reasons = super().ready()
        found = dict(reasons)
        told = self._states.answer() or {}
        for name in self._others.serving():
            why = told[name].answer[0][1] if name in told else {"process": "does not answer"}
            found |= {f"process {name}: {what}": reason for what, reason in why.items()}
        return not found, found

    def metrics(self, accept: str = "") -> tuple[str, bytes]:
        """The metrics of all processes, those that have ended included."""
        # Its forge_ready asks all of them.
        own = snapshot(self.running.metrics.registry) if self.running else []
        if self.running is None:
            self._states.answer()
        with self._lock:
            gone = summed([lasting(own), self._gone])  # as it will be when this one is killed
            self._memory.save(Counted(gone, self._pids, self._latest))
            return scrape(summed([own, self._gone, *self._latest.values()]), accept)

    def counted(self) -> Snapshot:
        """The series of the plots of all processes that answer now."""
        told = self._others.ask(self._others.serving(), COUNTED)
        return summed([super().counted(), *(of.answer for of in told.values())])

    def _ask(self) -> Mapping[str, Told]:
        """Ask all for their state, and count."""
        told = self._others.ask(self._others.serving(), STATE)
        with self._lock:
            for name, taken in self._latest.items():
                self._latest[name] = lasting(taken)  # gauges of those that do not answer
            for name, (pid, (_, taken)) in told.items():
                if self._pids.get(name, pid) != pid:
                    self._gone = summed([self._gone, self._latest[name]])
                self._pids[name], self._latest[name] = pid, taken
        return told
