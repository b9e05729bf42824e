"""Which records of a flood are written."""

from __future__ import annotations

import logging

_FIRST = 100
"""Records of one place in the code that a second may have; after them every so-manieth."""
_PLACES = 1000


class Repeats:
    """Of each logging call the first 100 records of a second, and then every 100th.

    A database that is down gives a traceback for every request; the first ones say it. Not for
    several threads at once: its handler's lock is held.
    """

    def __init__(self) -> None:
        # place → second, records in it, those left out since one was written
        self._seen: dict[tuple[str, int, str, int], list[int]] = {}

    def left_out(self, record: logging.LogRecord) -> int | None:
        """How many of its place were left out since the last one; None: this one is, too."""
        place = record.name, record.levelno, record.pathname, record.lineno
        seen = self._seen.get(place)
        if seen is None:
            if len(self._seen) >= _PLACES:  # code that is made at run time: begin anew
                self._seen.clear()
            seen = self._seen[place] = [0, 0, 0]
        if seen[0] != int(record.created):
            seen[:2] = int(record.created), 0
        seen[1] += 1
        if seen[1] > _FIRST and seen[1] % _FIRST:
            seen[2] += 1
            return None
        before, seen[2] = seen[2], 0
        return before
