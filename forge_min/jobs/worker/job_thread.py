"""The threads `job-N` run one job after the other, each within its time limit.

A job runs as the system, in the name and the tenant of the user that caused it. When its time is
over, another thread calls `check`: TimedOut is raised in the job's thread and its query is
cancelled. If the query does not end, the connection is cut. Code that does not react to that either
is abandoned: its attempt is recorded and its thread is replaced.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from psycopg.pq import TransactionStatus

from ...auth import as_identity, for_job
from ...db import IDLE, ThreadConnection
from ...errors import ForgeError
from ...observe import log_context
from ..args import read_args
from ..job import Job, Result, error_result, failed, log_failure, log_ids, retry_delay
from ..kinds import Kind, WorkerOptions

log = logging.getLogger("forge_min.jobs")
WARM_UP = 0.2  # seconds without a job after which a thread opens its connection
CUT = 2.0  # seconds that a query may take to react to its cancel
GRACE = 5.0  # seconds that a job may take to react to its time-out
NO_DATABASE_DELAY = 1.0  # seconds until a job without a connection is fetched again

Ended = tuple[Result, BaseException | None]  # None if it succeeded


class TimedOut(BaseException):
    """Raised inside a job that ran for too long.

    Not an Exception, because `except Exception` must not hide it.
    """


class JobThread:
    """Runs the jobs from `inbox` until it gets None, on its own connection.

    finished: called with each result and its seconds.
    """

    def __init__(
        self,
        name: str,
        options: WorkerOptions,
        inbox: SimpleQueue[Job | None],
        finished: Callable[[Result, float], None],
    ) -> None:
        self._options = options
        self._inbox = inbox
        self._finished = finished
        self._thread_conn = ThreadConnection(options.connect)
        # LOCK: guards the six below, between this thread and check()
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._deadline = self._started = 0.0
        self._fired = False
        self._lost = False  # the connection did not respond
        self._abandoned = False
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def check(self, now: float) -> bool:
        """Enforce the time limit of the current job.

        Returns True if the job does not react, so the thread must be replaced.
        """
        with self._lock:
            if self._job is None or now < self._deadline:
                return False
            # SAFETY: read inside the lock: after it, the thread may open one for its next job.
            conn = self._thread_conn.conn
            if self._fired:
                if conn is not None and not self._lost and now >= self._deadline + CUT:
                    self._lost = conn.shut_down()
                return now >= self._deadline + GRACE
            self._fired = True
            _raise_in(self.thread, TimedOut)
        if conn is not None:
            conn.request_cancel()
        return False

    def busy_for(self, now: float) -> float:
        """Return for how many seconds the current job has run, 0.0 without one."""
        with self._lock:
            if self._job is None:
                return 0.0
            return now - self._started

    def abandon(self, why: str) -> Result | None:
        """Abandon the thread, which ends when it can.

        Returns the failed result of its job. Returns None, and changes nothing, if it runs no job:
        then it continues or ends by itself.
        """
        with self._lock:
            job = self._job
            self._job = None
            self._abandoned = job is not None
        if job is None:
            return None
        result, error = self._timed_out(job, why)
        log_failure(result, error)
        return result

    def _run(self) -> None:
        try:
            job = self._inbox.get(timeout=WARM_UP)
        except Empty:
            with suppress(ForgeError):
                self._open()  # while there is time: the first job need not wait for it
            job = self._next()
        while job is not None:
            started = time.monotonic()
            result = self._attempt(job, started)
            if self._abandoned:
                break
            self._finished(result, time.monotonic() - started)
            job = self._next()
        self._thread_conn.close()

    def _next(self) -> Job | None:
        """Wait for a job; after IDLE without a connection, because the server has few."""
        try:
            return self._inbox.get(timeout=IDLE)
        except Empty:
            self._thread_conn.close()
            return self._inbox.get()

    def _open(self) -> None:
        """Ensure that the thread has a working connection. Raises the errors of `connect`.

        The actions of the job may use it without a test of their own. A job that finds it lost
        nevertheless is refunded.
        """
        conn = self._thread_conn.conn
        if conn is not None and not conn.closed and not conn.is_alive():
            conn.mark_lost()
        self._thread_conn.connection()

    def _attempt(self, job: Job, started: float) -> Result:
        # SAFETY: TimedOut is raised at most once per job, and never after a _disarm() that
        # returned. So the second _disarm, after it was raised, cannot be interrupted.
        ended = None
        try:
            self._open()
        except ForgeError as err:
            log.warning("job %d is handed back: %s", job.id, err)
            return Result(job, "handed_back", "scheduled", refund=1, delay=NO_DATABASE_DELAY)
        seconds = self._options.seconds(job)
        try:
            try:
                self._arm(job, started + seconds)
                ended = self._run_job(job)
            finally:
                self._disarm()
        except TimedOut:
            self._disarm()
        if ended is None or (self._fired and ended[0].state != "completed"):
            why = f"the job took longer than {seconds:g} s"
            ended = self._timed_out(job, why)
        if self._fired:
            self._thread_conn.close()
        result, error = ended
        if error is not None and not self._abandoned:
            # SAFETY: logged here, not in _run_job: TimedOut must not be raised inside the lock of a
            # log handler.
            log_failure(result, error)
        return result

    def _timed_out(self, job: Job, why: str) -> tuple[Result, TimeoutError]:
        error = TimeoutError(why)
        kind = self._options.kinds[job.kind]
        delay = retry_delay(kind.retry, job, error)
        lost = self._lost
        conn = self._thread_conn.conn
        if conn is not None and conn.broken:
            lost = True
        result = failed(job, why, delay=delay, lost=lost)
        return result, error

    def _run_job(self, job: Job) -> Ended:
        job.connect = self._thread_conn.connection
        kind = self._options.kinds[job.kind]
        try:
            job.checkpoint()
            identity = for_job(job.metadata)
            fields = log_ids(job, identity)
            with as_identity(identity), log_context(**fields), self._options.around(job):
                run_kind(kind, job)
                if not self._is_idle():
                    raise ForgeError(
                        "the job left a transaction open, which was rolled back",
                        code="F714",
                        hint="use `with db.transaction(job.conn):`",
                    )
            return Result(job, "completed", "completed"), None
        except TimedOut:
            raise
        except BaseException as err:
            conn = self._thread_conn.conn
            lost = conn is not None and conn.closed  # its user closes it
            if not self._is_idle():
                self._thread_conn.close()
            try:
                return error_result(job, err, kind.retry, lost=lost), err
            except (Exception, SystemExit) as worse:  # the error cannot be formatted
                message = f"{type(err).__name__}, and {type(worse).__name__} while it was formatted"
                return failed(job, message), err

    def _is_idle(self) -> bool:
        """Return whether no transaction is open on the connection."""
        conn = self._thread_conn.conn
        if conn is None or conn.closed:
            return True
        return conn.pgconn.transaction_status == TransactionStatus.IDLE

    def _arm(self, job: Job, deadline: float) -> None:
        with self._lock:
            self._job = job
            self._fired = False
            self._lost = False
            self._deadline = deadline
            self._started = time.monotonic()

    def _disarm(self) -> None:
        with self._lock:
            self._job = None
            if self._fired:
                _raise_in(self.thread, None)


def run_kind(kind: Kind, job: Job) -> None:
    """Call the kind's `work`, or its `discarded` if the job reports a discarded one."""
    if job.unreadable:
        raise ForgeError(job.unreadable, code="F711")
    if kind.args is not None:
        job.args = read_args(kind.args, job.raw_args, kind.name)
    handler = kind.work
    if "discarded" in job.metadata:
        handler = kind.discarded
    if handler is not None:
        handler(job)


def _raise_in(thread: threading.Thread, error: type[BaseException] | None) -> None:
    """Raise `error` in `thread` at its next bytecode; None withdraws an error not raised yet."""
    ident = ctypes.c_ulong(thread.ident or 0)
    reference = None
    if error is not None:
        reference = ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, reference)
