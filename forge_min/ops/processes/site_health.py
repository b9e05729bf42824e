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

from ...admin import inspection
from ...observe import SingleFlight, Snapshot, aggregate, counters_only, scrape, snapshot
from ..health import Health
from .parent_channel import PATIENCE, STATE, ChildInspector

_HEAD = Struct("<QI")  # bytes, and their checksum


class Counters(NamedTuple):
    """The metrics that an admin process has collected.

    ended: the sums of processes that have ended.
    pids: by name, the process id that responded last.
    latest: by name, the metrics of that response.
    """

    ended: Snapshot
    pids: dict[str, int]
    latest: dict[str, Snapshot]


class CounterMemory:
    """Memory of the parent (memfd_create(2)), so that no counter falls when the admin process dies.

    Only one process writes at a time.
    """

    def __init__(self) -> None:
        self._fd = os.memfd_create("forge-counted")

    def save(self, counters: Counters) -> None:
        """Replace the stored counters; keep the earlier ones if memory cannot be allocated."""
        data = pickle.dumps(counters)
        with suppress(OSError):
            os.pwrite(self._fd, _HEAD.pack(len(data), crc32(data)) + data, 0)

    def load(self) -> Counters:
        """Return the stored counters; empty ones if a kill interrupted their writing."""
        head = os.pread(self._fd, _HEAD.size, 0)
        if head:
            size, checksum = _HEAD.unpack(head)
            data = os.pread(self._fd, size, _HEAD.size)
            if crc32(data) == checksum:
                counters: Counters = pickle.loads(data)
                return counters
        return Counters([], {}, {})


class SiteHealth(Health):
    """The health of the admin process, which serves no requests, and of all serving processes.

    sockets: as of `ChildInspector`.
    memory: the counters that the previous admin process stored.
    """

    def __init__(
        self, build: Mapping[str, Any], sockets: Sequence[socket.socket], memory: CounterMemory
    ) -> None:
        super().__init__(build)
        self.inspector = self._children = ChildInspector(sockets)
        self._states = SingleFlight(self._ask, 2 * PATIENCE)
        self._lock = threading.Lock()  # LOCK: _ended, _pids, _latest and the memory
        self._memory = memory
        self._ended, self._pids, latest = memory.load()
        self._latest = {name: counters_only(metrics) for name, metrics in latest.items()}

    def ready(self) -> tuple[bool, Mapping[str, Any]]:
        """Return whether every process is ready, and the reasons of all faults."""
        good, reasons = super().ready()
        result = dict(reasons)
        states = self._states.result() or {}
        for name in self._children.serving():
            faults = {"process": "does not answer"}
            is_ready = False
            if name in states:
                is_ready, faults = states[name].result[0]
            good = good and is_ready
            result |= {f"process {name}: {fault}": faults[fault] for fault in faults}
        return good, result

    def metrics(self, accept: str = "") -> tuple[str, bytes]:
        """Return the metrics of all processes, including those that have ended."""
        # The callback of forge_ready in `own` requests the state of all processes.
        own = []
        if self.running is None:
            self._states.result()
        else:
            own = snapshot(self.running.metrics.registry)
        with self._lock:
            # The next admin process counts this one as ended.
            ended = aggregate([counters_only(own), self._ended])
            self._memory.save(Counters(ended, self._pids, self._latest))
            total = aggregate([own, self._ended, *self._latest.values()])
            return scrape(total, accept)

    def _ask(self) -> inspection.Replies:
        """Request the state of all processes, and store their metrics."""
        states = self._children.inspect(self._children.serving(), STATE)
        with self._lock:
            for name, metrics in self._latest.items():
                self._latest[name] = counters_only(metrics)  # drops gauges of silent processes
            for name, (pid, (_, metrics)) in states.items():
                if self._pids.get(name, pid) != pid:
                    self._ended = aggregate([self._ended, self._latest[name]])
                self._pids[name] = pid
                self._latest[name] = metrics
        return states
