"""The access log: one line per request, formatted by hand.

Its lines are those that handler.py's would write for a record of `forge_min.access` at INFO
with the fields method, status and duration (seconds): no value could begin a line of its own.

PERF: a LogRecord, its formatter and a flush for each line cost 18 µs, as much as the rest of a
request (benchmarks/http, hello).
"""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from math import floor, isfinite
from typing import TextIO

from ...fanout import access_line
from ..tracing import current
from .fields import log_fields
from .handler import (
    Format,
    Level,
    Plain,
    colours,
    field,
    is_text,
    json_line,
    level_text,
    plain,
    span_fields,
    text_line,
)
from .lines import lines_to
from .masks import masked

LOGGER = "forge_min.access"


class AccessLog:
    """Called with (method, path, status, seconds) after every request; from any thread.

    stream: default stderr. format: as of `new_handler`. level: of the whole
    log; above "info" nothing is written. Between `start` and `stop` the stream's thread writes
    (lines.py), so that no request waits for it; before and after, each line is written at once
    unless a handler of the same stream has started that thread. Raises ValueError for another
    format or level.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        format: Format | str = "auto",
        level: Level | str = "info",
    ) -> None:
        stream = sys.stderr if stream is None else stream
        self._json = not is_text(format, stream)
        self._level = "info" if self._json else level_text("INFO", colours(stream))
        self._zone = "+00:00" if self._json else ""
        # As logging does it; a Handler checks the name.
        self._enabled = logging.Handler(level.upper()).level <= logging.INFO
        self._clock = (0, "")
        self._lines = lines_to(stream)
        self._put = self._lines.put
        self._started = self._shared = False

    def __call__(self, method: str, path: str, status: int, seconds: float) -> None:
        """Add a line. Fields come from `log_fields` and from the current span."""
        if not self._enabled:
            return
        line = None
        if self._json:
            # PERF: what is plain is written in one pass, ten times as fast.
            line = access_line(
                time.time(), method, path, status, seconds, log_fields.get(), current.get()
            )
        self._put(line or self._line(method, path, status, seconds))

    def start(self) -> None:
        """Let the stream's thread write from here on. Idempotent."""
        if not self._started:
            self._started, self._shared = True, self._lines.start()

    def stop(self) -> None:
        """Write what is there; end the thread, if nobody else has started it. Idempotent."""
        if self._shared:
            self._lines.flush()
        elif self._started:
            self._lines.stop()

    def _line(self, method: str, path: str, status: int, seconds: float) -> str:
        """Its line; without the fields where one of them cannot be written."""
        now, fields, context = time.time(), log_fields.get(), current.get()
        clock = self._clock
        if clock[0] != int(now):
            clock = self._tick(int(now))
        write = json_line if self._json else text_line
        moment = f"{clock[1]}.{int(now % 1 * 1000):03d}{self._zone}"
        message = masked(f"{method} {path} {status} {seconds * 1e3:.1f}ms")
        # What this line says itself stands last, as `extra` of a record does.
        mine = {"method": method, "status": status, "duration": _micro(seconds)}
        own: dict[str, Plain] = {**span_fields(context), **{k: plain(v) for k, v in mine.items()}}
        try:
            shown = {k: field(k, v) for k, v in fields.items()} | own
            return write(moment, self._level, LOGGER, message, shown) + "\n"
        except Exception:
            return write(moment, self._level, LOGGER, message, own) + "\n"

    def _tick(self, second: int) -> tuple[int, str]:
        """Unix time, and as text to the second: UTC in JSON, local time in text."""
        moment = datetime.fromtimestamp(second, UTC)
        text = moment.isoformat() if self._json else moment.astimezone().isoformat(" ")
        clock = self._clock = second, text[:19]
        return clock


def _micro(seconds: float) -> float:
    """Rounded to microseconds."""
    return floor(seconds * 1e6 + 0.5) / 1e6 if isfinite(seconds * 1e6) else seconds
