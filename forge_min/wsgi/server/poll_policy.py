"""Decides how many workers poll, and whether they are pinned to one processor.

All workers poll, or one of them polls while responses are frequent and quick. The kernel places the
workers, or all of them are pinned to one processor. Only speed depends on these decisions: a
connection has one owner in any case. So they are not locked, and a lost update moves a decision
by one response.

PERF: eight threads that pass the interpreter lock at every system call spend 55 µs of CPU on a
response that costs one thread 21 µs (benchmarks/http, hello). A single poller must not delay other
requests. So it serves only while its responses are quick and wait for nothing, and another thread
watches it. If no response is sent for a moment, because a request takes long or because there is
none, all workers poll again.

PERF: if all workers poll, a thread that passes the lock wakes a thread on another processor, which
takes longer than on its own. On one processor a list is served 25 % faster and a row 40 % faster;
requests that wait for the disk lose a little (benchmarks/http). So both placements are tried
repeatedly for a moment. The faster one is kept, also over a pause, until the load changes. Only the
workers are pinned, never the process, its jobs, or threads and programs that a worker starts.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from functools import cache
from pathlib import Path

QUICK = 100e-6
"""Longest average time of a response, in seconds, with which a single poller continues."""
TRIAL = 64
"""Responses between two decisions."""
MAX_SWITCHES = TRIAL // 2
"""Most context switches within TRIAL responses with which a single poller continues.

Responses that wait, for a database for example, cause more.
"""
_TRY_ABOVE = 2000.0
"""Responses a second above which a single poller is tried."""
_STALL = 0.003  # seconds without a response after which all workers poll again
_LEAST = 0.001  # seconds: shortest time that TRIAL responses can take
_MIN_SAMPLE = 16  # responses from which an average time is meaningful
_MAX_PATIENCE = 16384  # responses between two attempts, at most
_MAX_STEP = 512  # responses after which the rate is compared with the usual one

_BUSY_ABOVE = 500.0
"""Responses a second from which the placement of the workers matters."""
_COMPARE_FOR = 0.1
"""Seconds for which each placement is measured, after a warm-up of half that time."""
_AGREEING = 2
"""Comparisons that must agree, because other programs disturb the measurement."""
_RECHECK_AFTER = 0.05
"""Seconds after which the load is checked again."""
_BETTER_BY = 1.08
"""Ratio of rates that counts as faster."""
_COUNT_FOR = 0.5
"""Seconds between two counts while the faster placement is kept."""
_CHANGED_BY = 1.5
"""Ratio of rates that, if seen twice in a row, means that the load has changed."""
_KEEP_FOR = 5.0, 40.0
"""Seconds until both placements are tried again: at first, and the limit of its doubling."""
_PROCESSOR = 36  # index behind the name in /proc/PID/stat (proc(5): field 39)


# LOCK: none; operations of a dict are atomic. Pinned threads by native id, each with its former
# processors and scheduling policy (sched(7)).
_PINNED: dict[int, tuple[set[int], int]] = {}
_NORMAL_POLICIES = os.SCHED_OTHER, os.SCHED_BATCH  # other policies are the operator's choice
_START_EVENTS = {
    "_thread.start_new_thread", "_thread.start_joinable_thread", "subprocess.Popen", "os.exec",
    "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system",
}  # fmt: skip
"""Audit events (PEP 578) after which a new thread or process inherits its starter's processors."""


def _unpin_before_start(event: str, _: object) -> None:
    """Unpin a worker before it starts a thread or program, which then may run everywhere."""
    if event in _START_EVENTS:
        before = _PINNED.pop(threading.get_native_id(), None)
        if before is not None:
            _set_placement(0, *before)


def _set_placement(thread: int, processors: set[int], policy: int) -> None:
    """Set the processors and the scheduling policy of a thread."""
    with suppress(OSError):  # it has ended, or the system forbids this
        os.sched_setaffinity(thread, processors)
    with suppress(OSError):
        if os.sched_getscheduler(thread) in _NORMAL_POLICIES:
            os.sched_setscheduler(thread, policy, os.sched_param(0))


@cache
def _install_audit_hook() -> None:
    sys.addaudithook(_unpin_before_start)


class PollPolicy:
    """Decides which workers poll, and on which processors.

    pin_threads: whether the workers may be pinned to one processor.

    Attributes:

    may_pin: `pin_threads`, and there is more than one processor.
    sole_poller: identity of the only thread that polls; 0 if all poll.
    polls: how often a thread has polled in a way that may wait.
    """

    def __init__(self, pin_threads: bool = False) -> None:
        self.sole_poller = 0
        self.may_pin = pin_threads and len(os.sched_getaffinity(0)) > 1
        self._pinning = _ThreadPinning() if self.may_pin else None
        self._responses = 0
        self._seconds = 0.0
        self._since = 0.0
        self._patience = self._until_try = self._due = TRIAL
        self._usual_rate = 0.0
        self.polls = self._switches_before = 0
        self._watcher_lock = threading.Lock()  # LOCK: one of the other threads watches.

    def join(self) -> None:
        """Register the calling worker. Called before it polls."""
        if self._pinning:
            self._pinning.threads.append(threading.get_native_id())

    def record_response(self, me: int, began: float) -> None:
        """Decide after a response which workers poll next.

        me: identity of the calling thread.
        began: time.perf_counter() at the start of the request.
        """
        now = time.perf_counter()
        self._responses += 1
        if self._pinning and not self.sole_poller:
            self._pinning.record_response(now)
        if self.sole_poller == me:
            self._seconds += now - began
            if self._seconds > QUICK * max(self._responses, _MIN_SAMPLE):
                self.sole_poller = 0
            elif self._responses < TRIAL:
                return
            elif (switches := self._switches()) - self._switches_before > MAX_SWITCHES:
                self.sole_poller = 0
            else:
                self._patience = self._until_try = TRIAL
                self._switches_before = switches
                if self._pinning:
                    self._pinning.unpin()
        elif self.sole_poller or self._responses < self._due:
            return
        elif self._should_try(now):
            self.sole_poller, self._switches_before = me, self._switches()
        self._responses, self._seconds, self._since = 0, 0.0, now

    def _should_try(self, now: float) -> bool:
        """Return whether a single thread shall poll now.

        After a failed attempt the next one comes later, unless the rate rises suddenly: then the
        load has changed.
        """
        # A thread that waited after reading the clock may see that the count began later.
        rate = self._responses / max(now - self._since, _LEAST)
        self._until_try -= self._responses
        if rate > _CHANGED_BY * self._usual_rate:
            self._patience, self._until_try = TRIAL, 0
        self._usual_rate = (3 * (self._usual_rate or rate) + rate) / 4
        tries = self._until_try <= 0 and rate > _TRY_ABOVE
        if tries:
            self._until_try = self._patience = min(self._patience * 2, _MAX_PATIENCE)
        self._due = min(max(self._until_try, TRIAL), _MAX_STEP)
        return tries

    def _switches(self) -> int:
        """Return how often this thread has left its processor, except for polls (getrusage(2)).

        It leaves to wait, or because the thread that it woke runs first.

        PERF: a row of a near database takes no longer than QUICK, but eight threads serve 17 % more
        of them than one (benchmarks/http, row).
        """
        used = resource.getrusage(resource.RUSAGE_THREAD)
        return used.ru_nvcsw + used.ru_nivcsw - self.polls

    @property
    def has_sole_poller(self) -> bool:
        """Whether one thread serves all requests, so that other processors are free."""
        return self.sole_poller != 0

    def leave(self) -> None:
        """Unregister the calling worker. Called when it ends."""
        if self._pinning:
            self._pinning.threads.remove(threading.get_native_id())
            _PINNED.pop(threading.get_native_id(), None)

    def end(self) -> None:
        """Unpin all workers, busy ones too."""
        if self._pinning:
            self._pinning.unpin()

    def unpin_if_idle(self) -> None:
        """Unpin the workers after a time without requests. Called regularly."""
        if self._pinning:
            self._pinning.unpin_if_idle(time.perf_counter())

    def wait(self) -> None:
        """Wait without polling; returns when all workers shall poll again."""
        with self._watcher_lock:
            while self.sole_poller:
                before = self._since, self._responses
                time.sleep(_STALL)
                if before == (self._since, self._responses):
                    self.sole_poller = 0


class _ThreadPinning:
    """Pins the workers to one processor while that is faster.

    threads: native ids of the workers.
    pinned: whether they are pinned now.
    """

    def __init__(self) -> None:
        _install_audit_hook()
        self.threads: list[int] = []
        self.pinned = False
        self._older_threads: set[int] = set()  # of this process, before the workers were pinned
        self._processors: set[int] = set()
        self._wants_pinned = False
        self._count = 0
        self._since = self._until = 0.0
        self._trial = self._compare()
        self._step = next(self._trial)
        self._trial_lock = threading.Lock()  # LOCK: one thread at a time advances the trial.

    def record_response(self, now: float) -> None:
        """Count a response, and advance the trial if its next step is due."""
        self._count += 1
        if now < self._until or not self._trial_lock.acquire(blocking=False):
            return
        try:
            seconds = now - self._since
            if now < self._until or not seconds > 0:
                return  # another thread was here between the two checks
            step = _RECHECK_AFTER
            if self._count < _BUSY_ABOVE * seconds:
                self._set_pinned(False)  # a step without load is repeated
            elif self.pinned != self._wants_pinned:
                self._set_pinned(self._wants_pinned)
                step = self._step
            else:
                step = self._step = self._trial.send(self._count / seconds)
                self._set_pinned(self._wants_pinned)
            self._until = now + step
            self._since, self._count = now, 0
        finally:
            self._trial_lock.release()

    def unpin_if_idle(self, now: float) -> None:
        """Unpin the workers if no response was sent since a step was due.

        Threads that inherited their placement are unpinned at any time.
        """
        if self.pinned and now > self._until + 2 * _COMPARE_FOR:
            self.unpin()
        elif self.pinned:
            self._unpin_inherited()

    def unpin(self) -> None:
        """Unpin the workers until more than one of them is busy again."""
        if self.pinned:
            with self._trial_lock:
                self._set_pinned(False)

    def _compare(self) -> Generator[float, float, None]:
        """Compare both placements repeatedly, and keep the faster one for a while.

        Yields for how many seconds to count, and receives the responses a second.
        """
        stay = _KEEP_FOR[0]
        while True:
            was, votes = self._wants_pinned, [0, 0]  # for the current placement, for the other one
            while max(votes) < _AGREEING:
                stayed = yield from self._measure(was)
                votes[(yield from self._measure(not was)) / stayed > _BETTER_BY] += 1
            self._wants_pinned = was != (votes[True] == _AGREEING)
            same = yield from self._keep_while_steady(stay)
            stay = min(2 * stay, _KEEP_FOR[1]) if same else _KEEP_FOR[0]

    def _measure(self, pinned: bool) -> Generator[float, float, float]:
        self._wants_pinned = pinned
        yield _COMPARE_FOR / 2
        return (yield _COMPARE_FOR)

    def _keep_while_steady(self, seconds: float) -> Generator[float, float, bool]:
        """Wait so many seconds; return False at once if the rate changes from the first one."""
        usual, odd = (yield _COUNT_FOR), 0
        for _ in range(int(seconds / _COUNT_FOR)):
            rate = yield _COUNT_FOR
            odd = 0 if usual / _CHANGED_BY < rate < usual * _CHANGED_BY else odd + 1
            if odd == 2:
                return False
        return True

    def _set_pinned(self, pinned: bool) -> None:
        """Pin the workers to the processor of the calling one, or unpin them."""
        if pinned == self.pinned:
            return
        before = _default_placement()
        if pinned:
            try:
                # SAFETY: as bytes: the name in it is cut after 15 bytes, also within a character.
                stat = Path("/proc/thread-self/stat").read_bytes()
            except OSError:
                return  # no file can be opened now; the next step tries again
            self._processors = {int(stat.rpartition(b")")[2].split()[_PROCESSOR])}
            self._older_threads = _thread_ids()
        else:
            self._unpin_inherited()
        for thread in list(self.threads):
            if pinned:
                _PINNED[thread] = before
                # PERF: with SCHED_BATCH a woken thread does not preempt the one that holds the
                # interpreter lock, only to wait for that lock (benchmarks/http, row).
                _set_placement(thread, self._processors, os.SCHED_BATCH)
            else:
                # SAFETY: also if it is not in _PINNED: it may have removed itself since.
                _PINNED.pop(thread, None)
                _set_placement(thread, *before)
        self.pinned = pinned

    def _unpin_inherited(self) -> None:
        """Unpin threads that inherited their placement without an audit event.

        A library has started them; before Python 3.12 no thread has an event.
        """
        before = _default_placement()
        for thread in _thread_ids() - self._older_threads - set(self.threads):
            with suppress(OSError):  # it has ended
                if os.sched_getaffinity(thread) == self._processors:
                    _set_placement(thread, *before)


def _default_placement() -> tuple[set[int], int]:
    """Return the processors and policy of the main thread, which is never pinned."""
    return os.sched_getaffinity(os.getpid()), os.sched_getscheduler(os.getpid())


def _thread_ids() -> set[int]:
    """Return the native ids of this process's threads (proc(5), /proc/pid/task)."""
    try:
        return set(map(int, os.listdir("/proc/self/task")))
    except OSError:
        return set()
