"""How many of the workers poll, and where they run: all of them, or one alone while answers come
fast and are quick; wherever the kernel wants, or all on one processor.

PERF: eight threads that hand the interpreter lock on at every system call spend 55 µs of CPU on an
answer that costs one thread 21 µs (benchmarks/http, hello). One thread alone must not hold others
up, so it is for answers only that are quick and wait for nothing, and another one watches it: when
no answer is given for a moment, because one takes long or because nobody asks, all poll again.
Nothing but speed depends on who polls: a connection has one owner in any case. So there is no lock
here; a lost update moves a decision by one answer.

PERF: where all poll, who hands the lock on wakes a thread on another processor, which takes longer
than on its own: on one processor a list answers a quarter more, a row two fifths; what waits for
the disk in between loses a little (benchmarks/http). So both are tried for a moment, again and
again, and what answers more stays, also over a pause, until other things are asked for. Only the
workers are kept there, never the process, nor its jobs, nor what a worker starts.
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
"""Seconds that an answer may take, on average, for one thread to go on alone."""
TRIAL = 64
"""Answers after which it is seen how things go."""
LEAVES = TRIAL // 2
"""So many times may one thread alone leave its processor within these: whose answers wait, for a
database say, leaves it to nobody.
"""
_FAST = 2000.0
"""Answers a second that make one thread try."""
_MOMENT = 0.003  # seconds without an answer that call everybody back
_LEAST = 0.001  # seconds that TRIAL answers take
_FEW = 16  # answers that say something of how quick they are
_MOST = 16384  # answers between two tries, at most
_STEP = 512  # answers after which it is seen whether they are others than before

_BUSY = 500.0
"""Answers a second from which on it matters where the workers run."""
_LOOK = 0.1
"""Seconds of each way that are compared; half as many pass unseen before."""
_AGREE = 2
"""Comparisons that must agree: the machine has others to serve too."""
_GLANCE = 0.05
"""Seconds after which it is seen whether many ask again."""
_BETTER = 1.08
"""So many times as many answers are no accident."""
_HOLD = 0.5
"""Seconds in which the answers are counted while the better way is kept."""
_OTHER = 1.5
"""So many times as many, or as few, twice in a row: other things are asked for now."""
_STAY = 5.0, 40.0
"""Seconds until both ways are tried again; each time twice as many, up to the second number."""
_PROCESSOR = 36  # of the fields behind the name in /proc/PID/stat (proc(5): field 39)


# LOCK: none; operations of a dict are atomic. Threads that are kept on one processor, by their
# native ids, and where each was before, under which policy (sched(7)).
_HELD: dict[int, tuple[set[int], int]] = {}
_USUAL = os.SCHED_OTHER, os.SCHED_BATCH  # policies; another is the operator's own choice
_STARTS = frozenset((
    "_thread.start_new_thread", "_thread.start_joinable_thread", "subprocess.Popen", "os.exec",
    "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system",
))  # fmt: skip
"""Audit events (PEP 578) of what inherits the processors of the thread that starts it."""


def _let_go(event: str, _: object) -> None:
    """What a worker starts may run everywhere: before it does, the worker is let go."""
    if event in _STARTS:
        before = _HELD.pop(threading.get_native_id(), None)
        if before is not None:
            _move(0, *before)


def _move(thread: int, processors: set[int], policy: int) -> None:
    """Let a thread run there and so from now on."""
    with suppress(OSError):  # it has ended, or this is not allowed here
        os.sched_setaffinity(thread, processors)
    with suppress(OSError):
        if os.sched_getscheduler(thread) in _USUAL:
            os.sched_setscheduler(thread, policy, os.sched_param(0))


@cache
def _watch_starts() -> None:
    sys.addaudithook(_let_go)


class PollPolicy:
    """Who polls, and where. alone: the identity of the one thread that polls, or 0 for all. polls:
    how often a thread has looked for something to do in a way that may wait for it.

    gather: the workers may be kept on one processor.
    """

    def __init__(self, gather: bool = False) -> None:
        self.alone = 0
        several = gather and len(os.sched_getaffinity(0)) > 1
        self._place = _Place() if several else None
        self._answers = 0
        self._seconds = 0.0
        self._from = 0.0
        self._patience = self._wait = self._due = TRIAL
        self._usual = 0.0
        self.polls = self._left = 0
        self._watch = threading.Lock()  # LOCK: one of the resting threads watches.

    def join(self) -> None:
        """Called by each worker before it polls."""
        if self._place:
            self._place.threads.append(threading.get_native_id())

    def answered(self, me: int, began: float) -> None:
        """An answer is given, begun at that time.perf_counter(): decide who polls from here on."""
        now = time.perf_counter()
        self._answers += 1
        if self._place and not self.alone:
            self._place.answered(now)
        if self.alone == me:
            self._seconds += now - began
            if self._seconds > QUICK * max(self._answers, _FEW):
                self.alone = 0
            elif self._answers < TRIAL:
                return
            elif (left := self._leaves()) - self._left > LEAVES:
                self.alone = 0
            else:
                self._patience = self._wait = TRIAL
                self._left = left
                if self._place:
                    self._place.release()
        elif self.alone or self._answers < self._due:
            return
        elif self._tries(now):
            self.alone, self._left = me, self._leaves()
        self._answers, self._seconds, self._from = 0, 0.0, now

    def _tries(self, now: float) -> bool:
        """Whether one thread is to try alone, of these answers. Where that does not go well, it is
        tried later, unless more is answered suddenly: those are others.
        """
        # A thread that had to wait with its time in hand may see that the count began later.
        rate = self._answers / max(now - self._from, _LEAST)
        self._wait -= self._answers
        if rate > _OTHER * self._usual:
            self._patience, self._wait = TRIAL, 0
        self._usual = (3 * (self._usual or rate) + rate) / 4
        tries = self._wait <= 0 and rate > _FAST
        if tries:
            self._wait = self._patience = min(self._patience * 2, _MOST)
        self._due = min(max(self._wait, TRIAL), _STEP)
        return tries

    def _leaves(self) -> int:
        """How often this thread has left its processor so far, but for its polls (getrusage(2)):
        to wait, or because whom it woke went first.

        PERF: a row of a database that is near takes no longer than QUICK, and eight threads answer
        a sixth more of them than one (benchmarks/http, row).
        """
        used = resource.getrusage(resource.RUSAGE_THREAD)
        return used.ru_nvcsw + used.ru_nivcsw - self.polls

    @property
    def gathers(self) -> bool:
        """The workers may be kept on one processor, and there are others."""
        return self._place is not None

    @property
    def spares(self) -> bool:
        """One thread answers all that is asked, and other processors have room."""
        return self.alone != 0

    def leave(self) -> None:
        """Called by each worker when it ends."""
        if self._place:
            self._place.threads.remove(threading.get_native_id())
            _HELD.pop(threading.get_native_id(), None)

    def end(self) -> None:
        """Nobody is kept anywhere any more, whoever is still at work."""
        if self._place:
            self._place.release()

    def settle(self) -> None:
        """Called every now and then: nobody is kept anywhere while nobody asks."""
        if self._place:
            self._place.settle(time.perf_counter())

    def rest(self) -> None:
        """What a thread does that does not poll; returns when all are to poll again."""
        with self._watch:
            while self.alone:
                before = self._from, self._answers
                time.sleep(_MOMENT)
                if before == (self._from, self._answers):
                    self.alone = 0


class _Place:
    """Where the workers run. threads: their native ids. together: on one processor, now."""

    def __init__(self) -> None:
        _watch_starts()
        self.threads: list[int] = []
        self.together = False
        self._known: set[int] = set()  # the threads that there were before
        self._cage: set[int] = set()
        self._wanted = False
        self._count = 0
        self._from = self._until = 0.0
        self._trial = self._tried()
        self._step = next(self._trial)
        self._judging = threading.Lock()  # LOCK: one thread at a time goes on with the trial.

    def answered(self, now: float) -> None:
        """Count an answer, and go on with the trial when the next step is due."""
        self._count += 1
        if now < self._until or not self._judging.acquire(blocking=False):
            return
        try:
            seconds = now - self._from
            if now < self._until or not seconds > 0:
                return  # another thread was here between the two looks
            step = _GLANCE
            if self._count < _BUSY * seconds:
                self._put(False)  # a step that was not busy says nothing, and is taken again
            elif self.together != self._wanted:
                self._put(self._wanted)
                step = self._step
            else:
                step = self._step = self._trial.send(self._count / seconds)
                self._put(self._wanted)
            self._until = now + step
            self._from, self._count = now, 0
        finally:
            self._judging.release()

    def settle(self, now: float) -> None:
        """Let the workers go when no answer was given since a step was due, and what they have
        started unseen at any time.
        """
        if self.together and now > self._until + 2 * _LOOK:
            self.release()
        elif self.together:
            self._free()

    def release(self) -> None:
        """Let the workers go, until more than one of them is busy again."""
        if self.together:
            with self._judging:
                self._put(False)

    def _tried(self) -> Generator[float, float, None]:
        """One way and the other, and the better one for a while. Gives for how many seconds to
        count answers, and gets how many there were a second.
        """
        stay = _STAY[0]
        while True:
            was, votes = self._wanted, [0, 0]  # to stay, and for the other way
            while max(votes) < _AGREE:
                stayed = yield from self._look(was)
                votes[(yield from self._look(not was)) / stayed > _BETTER] += 1
            self._wanted = was != (votes[True] == _AGREE)
            same = yield from self._same(stay)
            stay = min(2 * stay, _STAY[1]) if same else _STAY[0]

    def _look(self, together: bool) -> Generator[float, float, float]:
        self._wanted = together
        yield _LOOK / 2
        return (yield _LOOK)

    def _same(self, seconds: float) -> Generator[float, float, bool]:
        """Wait so long; False, and at once, when as many answers as at first are not given now."""
        usual, odd = (yield _HOLD), 0
        for _ in range(int(seconds / _HOLD)):
            rate = yield _HOLD
            odd = 0 if usual / _OTHER < rate < usual * _OTHER else odd + 1
            if odd == 2:
                return False
        return True

    def _put(self, together: bool) -> None:
        """Keep the workers on the processor that this one is on, or let them go."""
        if together == self.together:
            return
        before = _wanted()
        if together:
            try:
                # SAFETY: bytes: the name in it is cut after 15 of them, in the middle of a letter.
                stat = Path("/proc/thread-self/stat").read_bytes()
            except OSError:
                return  # no file can be opened now; it is tried again
            self._cage = {int(stat.rpartition(b")")[2].split()[_PROCESSOR])}
            self._known = _threads()
        else:
            self._free()
        for thread in list(self.threads):
            if together:
                _HELD[thread] = before
                # PERF: who wakes does not take the place of who holds the interpreter lock, only
                # to wait for that (benchmarks/http, row).
                _move(thread, self._cage, os.SCHED_BATCH)
            else:
                # SAFETY: who is not held too: it may have let go of itself between these two lines.
                _HELD.pop(thread, None)
                _move(thread, *before)
        self.together = together

    def _free(self) -> None:
        """Threads that a library has started, and all that there are since before Python 3.12,
        which has no event for it.
        """
        before = _wanted()
        for thread in _threads() - self._known - set(self.threads):
            with suppress(OSError):  # it has ended
                if os.sched_getaffinity(thread) == self._cage:
                    _move(thread, *before)


def _wanted() -> tuple[set[int], int]:
    """Where the operator wants all threads, and how: as the main thread, which is never moved."""
    return os.sched_getaffinity(os.getpid()), os.sched_getscheduler(os.getpid())


def _threads() -> set[int]:
    """The native ids of this process's threads (proc(5), /proc/pid/task)."""
    try:
        return set(map(int, os.listdir("/proc/self/task")))
    except OSError:
        return set()
