"""Waiting times between attempts to reach the database again: doubling, with jitter, bounded both
ways.
"""

from __future__ import annotations

import random


class Backoff:
    """Seconds to wait before the next attempt: about 0.05, 0.1, ... up to 5, each ± half.

    So a process makes fewer than 40 attempts in the first second and one in two later, and a
    hundred processes do not come back in the same moment.
    """

    def __init__(self, first: float = 0.05, most: float = 5.0) -> None:
        self._first = first
        self._most = most
        self._step = first

    def next(self) -> float:
        """The next waiting time in seconds."""
        step = self._step
        self._step = min(self._most, step * 2)
        return step * random.uniform(0.5, 1.5)

    def reset(self) -> None:
        """Begin again: the last attempt succeeded."""
        self._step = self._first
