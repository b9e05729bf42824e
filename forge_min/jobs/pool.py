"""One queue's threads in this process, and what is known about them: how many jobs are in hand."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence

from .job import Job, Result
from .lane import Lane, Terms

log = logging.getLogger("forge_min.jobs")
QUICK = 0.1  # seconds: longer jobs are not fetched ahead, other processes may be free for them

Observer = Callable[[Job, str, float], None]


class Pool:
    """`size` lanes that share an inbox. done: takes each result. hungry: called when it is time to
    fetch.

    more: whether the queue is thought to hold jobs. Set by anyone, cleared by the fetching thread.
    """

    def __init__(
        self,
        name: str,
        size: int,
        terms: Terms,
        first_number: int,
        *,
        done: Callable[[Result, float], None],
        hungry: Callable[[], None],
    ) -> None:
        self.name = name
        self.size = size
        self.terms = terms
        self.inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.more = False
        self._ahead = size * terms.prefetch
        self._done = done
        self._hungry = hungry
        self._lock = threading.Lock()  # LOCK: guards _in_hand, _mean and lanes
        self._in_hand = 0
        self._mean = 0.0
        self.lanes = [self._lane(first_number + n) for n in range(size)]

    def start(self) -> None:
        """Start the lanes' threads."""
        for lane in self.lanes:
            lane.thread.start()

    def room(self) -> int:
        """How many jobs to fetch now; 0 while it is better to wait until more can be fetched at
        once.
        """
        with self._lock:
            ahead = self._ahead if self._mean < QUICK else 0
            room = self.size + ahead - self._in_hand
            return room if self._in_hand < self.size or 2 * room >= self.size + ahead else 0

    def add(self, jobs: Sequence[Job]) -> None:
        """Hand fetched jobs to the lanes."""
        with self._lock:
            self._in_hand += len(jobs)
        for job in jobs:
            self.inbox.put(job)

    def finished(self, result: Result, seconds: float) -> None:
        """Called by a lane after each run."""
        with self._lock:
            self._in_hand -= 1
            self._mean += (seconds - self._mean) / 16
            hungry = self.more and self._in_hand <= self.size
        if hungry:
            self._hungry()
        self._done(result, seconds)

    def check(self, now: float) -> None:
        """Enforce time limits; a lane whose job never returns is replaced."""
        for lane in list(self.lanes):
            if lane.check(now):
                self._replace(lane)

    def take_back(self) -> list[Result]:
        """The jobs that no lane has started, given back."""
        results: list[Result] = []
        while True:
            try:
                job = self.inbox.get_nowait()
            except queue.Empty:
                return results
            if job is not None:
                results.append(Result(job, "handed_back", "available", refund=1))

    def close(self) -> None:
        """Let each lane end after its job."""
        for _ in self.lanes:
            self.inbox.put(None)

    def _lane(self, number: int) -> Lane:
        return Lane(number, self.terms, self.inbox, self.finished)

    def _replace(self, lane: Lane) -> None:
        result = lane.abandon("the job took too long and does not return")
        if result is None:
            return  # it has just returned
        log.error("job-%d does not return from its job; it is replaced", lane.number)
        fresh = self._lane(lane.number)
        with self._lock:
            self.lanes[self.lanes.index(lane)] = fresh
        fresh.thread.start()
        self.finished(result, self.terms.timeout)
