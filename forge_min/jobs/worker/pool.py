"""One queue's threads in this process, and what is known about them: how many jobs are in hand."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from ..job import Job, Result, hand_back
from ..kinds import WorkerOptions
from .executor import JobThread

log = logging.getLogger("forge_min.jobs")
QUICK = 0.1  # seconds: longer jobs are not fetched ahead, other processes may be free for them
AHEAD = 0.02  # seconds of work that short jobs are fetched ahead for, whatever `prefetch` says
MOST_AHEAD = 500

Observer = Callable[[Job, str, float], None]


class Pool:
    """The threads of a queue, which share an inbox. done: takes each result. wants_jobs: called
    when it is time to fetch.

    more: whether the queue is thought to hold jobs. Set by anyone, cleared by the fetching thread.
    careful: whether to fetch no more than threads are free.
    """

    def __init__(
        self,
        name: str,
        options: WorkerOptions,
        first_number: int,
        *,
        done: Callable[[Result, float], None],
        wants_jobs: Callable[[], None],
    ) -> None:
        self.name = name
        self.size = size = options.queues[name]
        self._options = options
        self.inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.more = False
        self.careful = False
        self._ahead = size * options.prefetch
        self._done = done
        self._wants_jobs = wants_jobs
        self._lock = threading.Lock()  # LOCK: guards _in_hand, _mean and threads
        self._in_hand = 0
        self._mean = QUICK / 2  # until it is known
        self._left: list[JobThread] = []  # replaced, and still in their jobs
        self.threads = [self._new_thread(first_number + n) for n in range(size)]

    def start(self) -> None:
        """Start the threads' threads."""
        for lane in self.threads:
            lane.thread.start()

    def fetch_limit(self) -> int:
        """How many jobs to fetch now; 0 while it is better to wait until more can be fetched at
        once.
        """
        with self._lock:
            most = self.size + (0 if self.careful else self._ahead_now())
            room = most - self._in_hand
            return room if self._in_hand < self.size or 2 * room >= most else 0

    @property
    def free(self) -> int:
        """Threads without a job."""
        return max(0, self.size - self._in_hand)

    def add(self, jobs: Sequence[Job]) -> None:
        """Hand fetched jobs to the threads."""
        with self._lock:
            self._in_hand += len(jobs)
        for job in jobs:
            self.inbox.put(job)

    def finished(self, result: Result, seconds: float) -> None:
        """Called by a lane after each run."""
        with self._lock:
            self._in_hand -= 1
            self._mean += (seconds - self._mean) / 16
            wants_jobs = self.more and 2 * self._in_hand <= self.size + self._ahead_now()
        if wants_jobs:
            self._wants_jobs()
        self._done(result, seconds)

    def check(self, now: float) -> None:
        """Enforce time limits; a lane whose job never returns is replaced."""
        for lane in list(self.threads):
            if lane.check(now):
                self._replace(lane)

    def surplus(self, now: float) -> list[Result]:
        """Jobs to give back: they were fetched ahead of short ones, and long ones run."""
        waiting = self.inbox.qsize() - self._ahead
        if waiting <= 0 or min(lane.busy_for(now) for lane in list(self.threads)) < QUICK:
            return []
        with self._lock:
            self._mean = max(self._mean, QUICK)
        results = self.take_back()
        for result in results[: self._ahead]:
            self.inbox.put(result.job)
        with self._lock:
            self._in_hand -= len(results[self._ahead :])
        return results[self._ahead :]

    @property
    def stuck(self) -> int:
        """Threads that were replaced and are still in their jobs."""
        self._left = [lane for lane in self._left if lane.thread.is_alive()]
        return len(self._left)

    def take_back(self) -> list[Result]:
        """The jobs that no lane has started, given back."""
        jobs: list[Job | None] = []
        with suppress(queue.Empty):
            while True:
                jobs.append(self.inbox.get_nowait())
        return [hand_back(job) for job in jobs if job is not None]

    def close(self) -> None:
        """Let each lane end after its job."""
        for _ in self.threads:
            self.inbox.put(None)

    def _ahead_now(self) -> int:
        """How many jobs may wait: none behind long ones, `prefetch` for each thread, or as many as
        short ones take AHEAD for.
        """
        if self._mean >= QUICK:
            return 0
        return max(self._ahead, min(int(self.size * AHEAD / max(self._mean, 1e-6)), MOST_AHEAD))

    def _new_thread(self, number: int) -> JobThread:
        return JobThread(number, self._options, self.inbox, self.finished)

    def _replace(self, lane: JobThread) -> None:
        result = lane.abandon("the job took too long and does not return")
        if result is None:
            return  # it has just returned
        log.error("job-%d does not return from its job; it is replaced", lane.number)
        fresh = self._new_thread(lane.number)
        with self._lock:
            self.threads[self.threads.index(lane)] = fresh
            self._left.append(lane)
        fresh.thread.start()
        self.finished(result, self._options.seconds(result.job))
