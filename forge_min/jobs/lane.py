"""One thread `job-N`: runs a job after the other, each within its time limit.

When the time is over another thread calls `check`: an exception is raised in this one and its
query is cancelled. Code that does not even react to that is left behind: its attempt is recorded,
its thread replaced.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ..db import Connection
from ..errors import ForgeError
from .job import Job
from .result import Result, completed, failed, judge
from .session import Own

if TYPE_CHECKING:
    from .pool import Pool

log = logging.getLogger("forge_min.jobs")
GRACE = 5.0  # seconds that a job may take to react to its time-out

Handler = Callable[[Job], object]
Around = Callable[[Job], AbstractContextManager[object]]


class TimedOut(BaseException):
    """Raised inside a job that ran for too long. No Exception: `except Exception` must not hide
    it.
    """


class Lane:
    """A thread that works for `pool`. connect opens its own connection. timeout: seconds
    per job.
    """

    def __init__(
        self, pool: Pool, number: int, connect: Callable[[], Connection], timeout: float
    ) -> None:
        self._pool = pool
        self._own = Own(connect)
        self._timeout = timeout
        self._lock = (
            threading.Lock()
        )  # LOCK: guards the four below, between this thread and check()
        self._job: Job | None = None
        self._deadline = 0.0
        self._fired = False
        self._abandoned = False
        self.number = number
        self.thread = threading.Thread(target=self._run, name=f"job-{number}", daemon=True)

    def check(self, now: float) -> bool:
        """Act when this lane's job is over its time. True: it does not react, so replace
        the lane.
        """
        with self._lock:
            if self._job is None or now < self._deadline:
                return False
            if self._fired:
                return now >= self._deadline + GRACE
            self._fired = True
            _raise_in(self.thread, TimedOut)
        self._own.cancel()
        return False

    def abandon(self, why: str) -> Result | None:
        """Give the lane up: the failed result of its job; its thread ends when it can.

        None, and nothing changes, when it is in no job: then it goes on or ends by itself.
        """
        with self._lock:
            job, self._job = self._job, None
            self._abandoned = job is not None
        return failed(job, why) if job is not None else None

    def _run(self) -> None:
        while (job := self._pool.inbox.get()) is not None:
            started = time.monotonic()
            result = self._attempt(job)
            if self._abandoned:
                break
            self._pool.finished(result, time.monotonic() - started)
        self._own.close()

    def _attempt(self, job: Job) -> Result:
        # SAFETY: TimedOut comes at most once per job and never after a _disarm() that returned; so
        # the second _disarm, after it came, cannot be interrupted.
        result: Result | None = None
        try:
            try:
                self._arm(job)
                result = self._handle(job)
            finally:
                self._disarm()
        except TimedOut:
            self._disarm()
        if self._fired:
            self._own.close()
        if result is None or (self._fired and result.state != "completed"):
            return failed(job, f"the job took longer than {self._timeout:g} s")
        return result

    def _handle(self, job: Job) -> Result:
        job.connect = self._own.connection
        try:
            with self._pool.around(job):
                self._pool.handlers[job.kind](job)
                self._check_clean()
            return completed(job)
        except TimedOut:
            raise
        except BaseException as err:
            self._own.close() if not self._own.clean else None
            return judge(job, err)

    def _check_clean(self) -> None:
        if not self._own.clean:
            raise ForgeError(
                "the job left a transaction open, which was rolled back",
                code="F714",
                hint="use `with db.transaction(job.conn):`",
            )

    def _arm(self, job: Job) -> None:
        with self._lock:
            self._job, self._fired = job, False
            self._deadline = time.monotonic() + self._timeout

    def _disarm(self) -> None:
        with self._lock:
            self._job = None
            if self._fired:
                _raise_in(self.thread, None)


def _raise_in(thread: threading.Thread, error: type[BaseException] | None) -> None:
    """Raise `error` in `thread` at its next bytecode, or take back what was not raised yet."""
    ident = ctypes.c_ulong(thread.ident or 0)
    what = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, what)
