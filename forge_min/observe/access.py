"""The access log: one line per request, formatted by hand and written many at once.

Its lines are those that log.py's handler would write for a record of `forge_min.access` at INFO:
the same fields, and no value that could begin a line of its own.

PERF: a LogRecord, its formatter and a flush for each line cost 18 µs, as much as the rest of a
request (benchmarks/http, hello).
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

from ..fanout import access_line
from .log import (
    Format,
    Level,
    Plain,
    colours,
    level_text,
    log_fields,
    plain,
    printable,
    quoted,
    span_fields,
)
from .tracing import current

LOGGER = "forge_min.access"
_GATHER = 0.05
"""Seconds that a line may wait for others."""
_MOST = 64
"""Lines, about 12 KiB, that are written at once by the request that adds the last of them."""


class AccessLog:
    """Called with (method, path, status, seconds) after every request; from any thread.

    stream: default stderr. format: "text" (coloured on a terminal) or "json". level: of the whole
    log; above "info" nothing is written. Between `start` and `stop` the thread `access-log` writes
    what 50 ms have brought, so a kill -9 loses that much; before and after, each line is written at
    once. A stream that takes nothing makes the requests wait, one that fails loses the lines.
    Raises ValueError for another format or level.
    """

    def __init__(
        self, stream: TextIO | None = None, *, format: Format = "text", level: Level | str = "info"
    ) -> None:
        if format not in ("text", "json"):
            raise ValueError(f"format must be 'text' or 'json', not {format!r}")
        self._stream = sys.stderr if stream is None else stream
        self._json = format == "json"
        self._level = level_text("INFO", not self._json and colours(self._stream))
        # As logging does it; a Handler checks the name.
        self._enabled = logging.Handler(level.upper()).level <= logging.INFO
        self._clock = (0, "")
        self._lines: list[str] = []
        self._most = 0
        self._due = threading.Event()
        self._stopped = threading.Event()
        self._writing = threading.Lock()  # LOCK: lines leave in order.
        self._thread: threading.Thread | None = None

    def __call__(self, method: str, path: str, status: int, seconds: float) -> None:
        """Add a line. Fields come from `log_fields` and from the current span."""
        if self._enabled:
            self._lines.append(self._line(method, path, status, seconds))
            if len(self._lines) > self._most:
                self.flush()
            elif not self._due.is_set():
                self._due.set()

    def start(self) -> None:
        """Gather lines from here on. A second call does nothing."""
        if self._thread is None and not self._stopped.is_set():
            self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
            self._thread.start()
            self._most = _MOST

    def stop(self) -> None:
        """Write what is there and end the thread. A second call does nothing."""
        self._most = 0
        self._stopped.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def flush(self) -> None:
        """Write what is there."""
        with self._writing:
            # SAFETY: always the same list; one that is replaced could still be appended to.
            lines = self._lines[: (count := len(self._lines))]
            del self._lines[:count]
            try:
                self._stream.write("".join(lines))
                self._stream.flush()
            except (OSError, ValueError):
                pass  # a log that cannot be written must not end a request

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._due.wait()
            self._stopped.wait(_GATHER)
            self._due.clear()
            self.flush()

    def _line(self, method: str, path: str, status: int, seconds: float) -> str:
        """Its line; without the fields where one of them cannot be written."""
        now, fields, context = time.time(), log_fields.get(), current.get()
        clock = self._clock
        if clock[0] != int(now):
            clock = self._tick(int(now))
        if self._json:
            trace, span = (0, 0) if context is None else (context.trace_id, context.span_id)
            try:
                # PERF: what is plain is written in one pass, ten times as fast.
                line = access_line(
                    clock[1], now, method, path, status, seconds, fields, trace, span
                )
                if line is not None:
                    return line
            except UnicodeEncodeError:
                pass
        write = _json if self._json else self._text
        moment = f"{clock[1]}.{int(now % 1 * 1000):03d}"
        message, ids = f"{method} {path} {status} {seconds * 1e3:.1f}ms", span_fields(context)
        try:
            return write(moment, message, {**{k: plain(v) for k, v in fields.items()}, **ids})
        except Exception:
            return write(moment, message, ids)

    def _text(self, clock: str, message: str, fields: Mapping[str, Plain]) -> str:
        rest = "".join(f" {printable(key)}={quoted(value)}" for key, value in fields.items())
        return f"{clock} {self._level} {LOGGER} {printable(message)}{rest}\n"

    def _tick(self, second: int) -> tuple[int, str]:
        """Unix time, and as text to the second: UTC in JSON, local time in text."""
        moment = datetime.fromtimestamp(second, UTC)
        text = moment.isoformat() if self._json else moment.astimezone().isoformat(" ")
        clock = self._clock = second, text[:19]
        return clock


def _json(clock: str, message: str, fields: Mapping[str, Plain]) -> str:
    row: dict[str, Plain] = {
        "time": f"{clock}+00:00", "level": "info", "logger": LOGGER, "message": message,
    }  # fmt: skip
    row |= {key: value for key, value in fields.items() if key not in row}
    return json.dumps(row, separators=(",", ":")) + "\n"
