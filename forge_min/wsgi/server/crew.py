"""How many of the workers poll: all of them, or one alone while answers come fast and are quick.

PERF: eight threads that hand the interpreter lock on at every system call spend 55 µs of CPU on an
answer that costs one thread 21 µs (benchmarks/http, hello). One thread alone must not hold others
up, so another one watches it: when no answer is given for a moment, because one takes long or
because nobody asks, all poll again. Nothing but speed depends on who polls: a connection has one
owner in any case. So there is no lock here; a lost update moves a decision by one answer.
"""

from __future__ import annotations

import threading
import time

QUICK = 200e-6
"""Seconds that an answer may take, on average, for one thread to go on alone."""
TRIAL = 64
"""Answers after which it is seen how things go."""
_FAST = 2000.0
"""Answers a second that make one thread try."""
_MOMENT = 0.003  # seconds without an answer that call everybody back
_FEW = 16  # answers that say something of how quick they are
_MOST = 16384  # answers between two tries, at most


class Crew:
    """Who polls. alone: the identity of the one thread that does, or 0 for all."""

    def __init__(self) -> None:
        self.alone = 0
        self._answers = 0
        self._seconds = 0.0
        self._from = 0.0
        self._patience = TRIAL
        self._watch = threading.Lock()  # LOCK: one of the resting threads watches.

    def answered(self, me: int, began: float) -> None:
        """An answer is given, begun at that time.perf_counter(): decide who polls from here on."""
        now = time.perf_counter()
        self._answers += 1
        if self.alone == me:
            self._seconds += now - began
            if self._seconds > QUICK * max(self._answers, _FEW):
                self.alone = 0
            elif self._answers < TRIAL:
                return
            else:
                self._patience = TRIAL
        elif self.alone or self._answers < self._patience:
            return
        elif self._answers > _FAST * (now - self._from):
            # Where it does not go well, the next try comes later.
            self._patience = min(self._patience * 2, _MOST)
            self.alone = me
        self._answers, self._seconds, self._from = 0, 0.0, now

    def rest(self) -> None:
        """What a thread does that does not poll; returns when all are to poll again."""
        with self._watch:
            while self.alone:
                before = self._from, self._answers
                time.sleep(_MOMENT)
                if before == (self._from, self._answers):
                    self.alone = 0
