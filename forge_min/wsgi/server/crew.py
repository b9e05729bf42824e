"""How many of the workers poll: all of them, or one alone while answers come fast and are quick.

PERF: eight threads that hand the interpreter lock on at every system call spend 55 µs of CPU on an
answer that costs one thread 23 µs (benchmarks/http, hello). One thread alone must not hold others
up, so another one watches it and calls everybody back as soon as an answer takes long. Nothing but
speed depends on who polls: a connection has one owner in any case.
"""

from __future__ import annotations

import threading
import time

QUICK = 200e-6
"""Seconds of an answer that one thread may give while nobody else polls."""
_STUCK = 0.002
_WATCHES = 25
_BUSY = 64
_BEST, _START, _SLOW = 32, 16, 8
_MOST = 4096


class Crew:
    """Who polls. alone: the identity of the one thread that does, or 0 for all."""

    def __init__(self) -> None:
        self.alone = 0
        self._since = 0.0
        self._answers = 0
        self._score = 0
        self._from = 0.0
        self._next = _BUSY
        self._together = threading.Event()
        self._together.set()
        self._lock = threading.Lock()  # LOCK: `alone` and `_together` change together.
        self._watch = threading.Lock()  # LOCK: one of the resting threads watches.

    def begin(self) -> float:
        """An answer begins; gives the time for `end`."""
        self._since = now = time.perf_counter()
        return now

    def end(self, me: int, began: float) -> None:
        """An answer is given: decide who polls from here on."""
        now = time.perf_counter()
        self._since = 0.0
        self._answers += 1
        if self.alone == me:
            if now - began < QUICK:
                if self._score < _BEST:
                    self._score += 1
            else:
                self._score -= _SLOW
                if self._score < 0:
                    self.gather_all()
        elif self._answers >= self._next:
            self._try_alone(me, now)

    def _try_alone(self, me: int, now: float) -> None:
        """After many answers in a short time: see how one thread does."""
        rate = self._answers / (now - self._from)
        self._answers, self._from = 0, now
        if rate > _BUSY / (_STUCK * _WATCHES):
            with self._lock:
                if not self.alone:
                    self._together.clear()
                    self._score = _START
                    self.alone = me

    def gather_all(self) -> None:
        """Everybody polls again. Where being alone did not last, the next try comes later."""
        with self._lock:
            if self.alone:
                lasted = self._answers >= _BUSY
                self._next = _BUSY if lasted else min(self._next * 2, _MOST)
                self._answers, self._from = 0, time.perf_counter()
                self.alone = 0
                self._together.set()

    def rest(self) -> None:
        """What a thread does that does not poll; returns when all are to poll again."""
        if not self._watch.acquire(blocking=False):
            self._together.wait()
            return
        try:
            self._watch_over()
        finally:
            self._watch.release()

    def _watch_over(self) -> None:
        """End being alone when an answer takes long, or when there is little to do."""
        while self.alone:
            before = self._answers
            for _ in range(_WATCHES):
                if self._together.wait(_STUCK):
                    return
                since = self._since
                if since and time.perf_counter() - since > _STUCK:
                    self.gather_all()
                    return
            if self._answers - before < _BUSY:
                self.gather_all()
