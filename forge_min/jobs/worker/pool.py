"""The threads of one queue in this process, and the number of jobs that they hold."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from ..job import Job, Result, hand_back
from ..kinds import WorkerOptions
from .job_thread import JobThread

log = logging.getLogger("forge_min.jobs")
QUICK = 0.1  # seconds: longer jobs are not fetched ahead, other processes may be free for them
AHEAD = 0.02  # seconds of work that short jobs are fetched ahead for, beyond `prefetch`
MOST_AHEAD = 500

Observer = Callable[[Job, str, float], None]


class Pool:
    """The threads of a queue, which share an inbox.

    numbers: of the threads of all queues.
    done: called with each result and its seconds.
    wants_jobs: called when it is time to fetch.

    more: whether the queue probably holds jobs. Any thread sets it, the fetcher clears it.
    careful: whether to fetch no more jobs than threads are free.
    """

    def __init__(
        self,
        name: str,
        options: WorkerOptions,
        numbers: Iterator[int],
        *,
        done: Callable[[Result, float], None],
        wants_jobs: Callable[[], None],
    ) -> None:
        self.name = name
        self.size = size = options.queues[name]
        self._options = options
        self.inbox = queue.SimpleQueue[Job | None]()
        self.more = False
        self.careful = False
        self._ahead = size * options.prefetch
        self._done = done
        self._wants_jobs = wants_jobs
        self._lock = threading.Lock()  # LOCK: guards _held, _mean and threads
        self._held = 0
        self._mean = QUICK / 2  # seconds of a job, until it is known
        self._abandoned: list[JobThread] = []  # replaced, and still in their jobs
        self.threads = [self._new_thread(f"job-{next(numbers)}") for _ in range(size)]

    def start(self) -> None:
        """Start the threads."""
        for job_thread in self.threads:
            job_thread.thread.start()

    def fetch_limit(self) -> int:
        """Return how many jobs to fetch now.

        0 while it is better to wait until more can be fetched at once.
        """
        with self._lock:
            capacity = self.size
            if not self.careful:
                capacity += self._ahead_now()
            limit = capacity - self._held
            if self._held >= self.size and 2 * limit < capacity:
                return 0
            return limit

    @property
    def free(self) -> int:
        """Number of threads without a job."""
        return max(0, self.size - self._held)

    def add(self, jobs: Sequence[Job]) -> None:
        """Pass fetched jobs to the threads."""
        with self._lock:
            self._held += len(jobs)
        for job in jobs:
            self.inbox.put(job)

    def finished(self, result: Result, seconds: float) -> None:
        """Count the end of a run. Its thread calls this."""
        with self._lock:
            self._held -= 1
            self._mean += (seconds - self._mean) / 16
            wants_jobs = self.more and 2 * self._held <= self.size + self._ahead_now()
        if wants_jobs:
            self._wants_jobs()
        self._done(result, seconds)

    def check(self, now: float) -> None:
        """Enforce time limits, and replace threads if their job never returns."""
        for job_thread in list(self.threads):
            if job_thread.check(now):
                self._replace(job_thread)

    def surplus(self, now: float) -> list[Result]:
        """Return results that hand back jobs fetched ahead, while long jobs run before them."""
        waiting = self.inbox.qsize() - self._ahead
        if waiting <= 0:
            return []
        if min(job_thread.busy_for(now) for job_thread in list(self.threads)) < QUICK:
            return []
        with self._lock:
            self._mean = max(self._mean, QUICK)
        results = self.take_back()
        for result in results[: self._ahead]:
            self.inbox.put(result.job)
        surplus = results[self._ahead :]
        with self._lock:
            self._held -= len(surplus)
        return surplus

    @property
    def stuck(self) -> int:
        """Number of threads that were replaced and are still in their jobs."""
        self._abandoned = [old for old in self._abandoned if old.thread.is_alive()]
        return len(self._abandoned)

    def take_back(self) -> list[Result]:
        """Return results that hand back the jobs that no thread has started."""
        jobs = []
        with suppress(queue.Empty):
            while True:
                jobs.append(self.inbox.get_nowait())
        return [hand_back(job) for job in jobs if job is not None]

    def close(self) -> None:
        """Let each thread end after its job."""
        for _ in self.threads:
            self.inbox.put(None)

    def _ahead_now(self) -> int:
        """Return how many jobs may wait.

        None behind long ones; else `prefetch` for each thread, or as many as take AHEAD seconds.
        """
        if self._mean >= QUICK:
            return 0
        mean = max(self._mean, 1e-6)
        number = int(self.size * AHEAD / mean)
        return max(self._ahead, min(number, MOST_AHEAD))

    def _new_thread(self, name: str) -> JobThread:
        return JobThread(name, self._options, self.inbox, self.finished)

    def _replace(self, old: JobThread) -> None:
        result = old.abandon("the job took too long and does not return")
        if result is None:
            return  # it has just returned
        log.error("%s does not return from its job; it is replaced", old.thread.name)
        new = self._new_thread(old.thread.name)
        with self._lock:
            self.threads[self.threads.index(old)] = new
            self._abandoned.append(old)
        new.thread.start()
        self.finished(result, self._options.seconds(result.job))
