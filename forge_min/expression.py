"""Regular expressions that are compiled when they are first used.

PERF: of the 130 that a serving process knows, its first page needs some dozen; to compile all of
them took 25 ms of the start (benchmarks/build.py).
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _Late:
    """Stands for a pattern. Two threads that use it first at once compile it twice: no harm."""

    def __init__(self, source: str | bytes, flags: int) -> None:
        self._source, self._flags = source, flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of copy and pickle, which ask before there is anything
            raise AttributeError(name)
        found = getattr(re.compile(self._source, self._flags), name)
        setattr(self, name, found)  # from here on a method costs what the pattern's own does
        return found


def expression(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """As re.compile, which is called at the first use: that raises re.error."""
    return cast("re.Pattern[AnyStr]", _Late(source, flags))
