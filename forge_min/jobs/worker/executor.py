"""One thread `job-N`: runs a job after the other, each within its time limit, as the system in the
name and the tenant of who caused it. Knows an inbox, and whom to tell of a result.

When the time is over another thread calls `check`: an exception is raised in this one and its
query is cancelled; if no answer comes, its connection is cut. Code that does not even react to that
is left behind: its attempt is recorded, its thread replaced.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

import psycopg
from psycopg.pq import TransactionStatus

from ...auth import as_identity, for_job
from ...db import Connection, ThreadConnection
from ...errors import ForgeError
from ...observe import noting
from ..args import read_args
from ..job import Cancelled, Job, Result, failed, log_failure, log_ids, result_of_error, retry_delay
from ..kinds import Kind, WorkerOptions

log = logging.getLogger("forge_min.jobs")
WARM_UP = 0.2  # seconds without a job, then a thread opens its connection
CUT = 2.0  # seconds that a query may take to react to its cancel
GRACE = 5.0  # seconds that a job may take to react to its time-out
IDLE = 1.0  # seconds without an answer after which a connection is asked before a job begins
RECENT = 0.01  # seconds since its last use or check in which a connection is not checked
DATABASE_ERRORS = 1.0  # seconds until a job is taken again that found no connection to the database

Ended = tuple[Result, BaseException | None]  # None where it succeeded


class TimedOut(BaseException):
    """Raised inside a job that ran for too long. No Exception: `except Exception` must not hide
    it.
    """


class JobThread:
    """A thread that works what comes through `inbox`, until None does, on the connection that the
    options give to it. finished: called with each result and its seconds.
    """

    def __init__(
        self,
        number: int,
        options: WorkerOptions,
        inbox: SimpleQueue[Job | None],
        finished: Callable[[Result, float], None],
    ) -> None:
        self._options, self._inbox, self._finished = options, inbox, finished
        self._link = ThreadConnection(options.connect)
        # LOCK: guards the six below, between this thread and check()
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._deadline = self._started = 0.0
        self._fired = False
        self._lost = False  # the connection gave no answer
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
            # SAFETY: taken here: once the lock is free the thread may open one for its next job.
            conn = self._link.conn
            if self._fired:
                if conn is not None and not self._lost and now >= self._deadline + CUT:
                    self._lost = conn.cut()
                return now >= self._deadline + GRACE
            self._fired = True
            _raise_in(self.thread, TimedOut)
        if conn is not None:
            # On its own thread: all threads may wait for a server that stands still.
            threading.Thread(target=_cancel, args=(conn,), name="job-cancel", daemon=True).start()
        return False

    def busy_for(self, now: float) -> float:
        """Seconds that its job has run."""
        with self._lock:
            return now - self._started if self._job is not None else 0.0

    def abandon(self, why: str) -> Result | None:
        """Give the lane up: the failed result of its job; its thread ends when it can.

        None, and nothing changes, when it is in no job: then it goes on or ends by itself.
        """
        with self._lock:
            job, self._job = self._job, None
            self._abandoned = job is not None
        if job is None:
            return None
        result, error = self._late(job, why)
        log_failure(result, error)
        return result

    def _run(self) -> None:
        try:
            job = self._inbox.get(timeout=WARM_UP)
        except Empty:
            self._open()  # while there is time for it: the first job need not wait
            job = self._inbox.get()
        while job is not None:
            started = time.monotonic()
            result = self._attempt(job, started)
            if self._abandoned:
                break
            self._finished(result, time.monotonic() - started)
            job = self._inbox.get()
        self._link.close()

    def _open(self) -> ForgeError | None:
        """Have a connection whose server has not closed it, and answers if it was idle for long;
        the job's actions may use it without asking here. Returns why there is none.
        """
        conn = self._link.conn
        if conn is not None and not conn.closed:
            idle = time.perf_counter() - conn.used
            if idle < RECENT:  # PERF: a sixth of a drain. A job that finds it lost is refunded.
                return None
            if idle > IDLE:
                conn.losses = -1  # so that it is asked
            if conn.is_alive():
                return None
            conn.lose()
        try:
            self._link.connection()
        except ForgeError as err:
            return err
        return None

    def _attempt(self, job: Job, started: float) -> Result:
        # SAFETY: TimedOut comes at most once per job and never after a _disarm() that returned; so
        # the second _disarm, after it came, cannot be interrupted.
        if job.cancelled:
            result = result_of_error(job, Cancelled())
            log_failure(result, Cancelled())
            return result
        ended: Ended | None = None
        if (refusal := self._open()) is not None:
            log.warning("job %d is handed back: %s", job.id, refusal)
            return Result(job, "handed_back", "scheduled", refund=1, delay=DATABASE_ERRORS)
        seconds = self._options.seconds(job)
        try:
            try:
                self._arm(job, started + seconds)
                ended = self._handle(job)
            finally:
                self._disarm()
        except TimedOut:
            self._disarm()
        if ended is None or (self._fired and ended[0].state != "completed"):
            ended = self._late(job, f"the job took longer than {seconds:g} s")
        if self._fired:
            self._link.close()
        result, error = ended
        if error is not None and not self._abandoned:
            # SAFETY: here, not where it was caught: TimedOut must not come inside of a log's lock.
            log_failure(result, error)
        return result

    def _late(self, job: Job, why: str) -> tuple[Result, TimeoutError]:
        error = TimeoutError(why)
        delay = retry_delay(self._options.kinds[job.kind].retry, job, error)
        conn = self._link.conn
        lost = self._lost or (conn is not None and conn.broken)
        return failed(job, why, delay=delay, lost=lost), error

    def _handle(self, job: Job) -> Ended:
        job.connect = self._link.connection
        kind = self._options.kinds[job.kind]
        try:
            who = for_job(job.metadata)
            with as_identity(who), noting(**log_ids(job, who)), self._options.around(job):
                run_kind(kind, job)
                if not self._clean():
                    raise ForgeError(
                        "the job left a transaction open, which was rolled back",
                        code="F714",
                        hint="use `with db.transaction(job.conn):`",
                    )
            return Result(job, "completed", "completed"), None
        except TimedOut:
            raise
        except BaseException as err:
            lost = self._link.conn is not None and self._link.conn.closed  # who finds it closes it
            if not self._clean():
                self._link.close()
            try:
                return result_of_error(job, err, kind.retry, lost=lost), err
            except TimedOut:
                raise
            except BaseException as worse:  # an error that cannot even be told
                said = f"{type(err).__name__}, and {type(worse).__name__} over it"
                return failed(job, said), err

    def _clean(self) -> bool:
        conn = self._link.conn
        return conn is None or conn.closed or conn.info.transaction_status == TransactionStatus.IDLE

    def _arm(self, job: Job, deadline: float) -> None:
        with self._lock:
            self._job, self._fired, self._lost, self._deadline = job, False, False, deadline
            self._started = time.monotonic()

    def _disarm(self) -> None:
        with self._lock:
            self._job = None
            if self._fired:
                _raise_in(self.thread, None)


def run_kind(kind: Kind, job: Job) -> None:
    """Call what the job is for: the kind's `work`, or `discarded` where it tells of a job that was
    given up.
    """
    if job.unreadable:
        raise ForgeError(job.unreadable, code="F711")
    if kind.args is not None:
        job.args = read_args(kind.args, job.given, kind.name)
    call = kind.discarded if "discarded" in job.metadata else kind.work
    if call is not None:
        call(job)


def _cancel(conn: Connection) -> None:
    # An error: it ended by itself, or the server is gone: it will not go on either.
    with suppress(psycopg.Error):
        conn.cancel_safe(timeout=CUT)


def _raise_in(thread: threading.Thread, error: type[BaseException] | None) -> None:
    """Raise `error` in `thread` at its next bytecode, or take back what was not raised yet."""
    ident = ctypes.c_ulong(thread.ident or 0)
    what = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, what)
