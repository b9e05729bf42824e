"""The access log: one line per request.

A line equals that of handler.py for an INFO record of `forge_min.access` with the fields method,
status and duration (seconds). No value can start a line of its own.
"""

from __future__ import annotations

import logging
import sys
import time
from math import floor, isfinite
from typing import TextIO

from ...fanout import try_format_access_line
from ..tracing import current
from .handler import Format, Level, is_text, log_fields, new_formatter
from .writer import line_writer

LOGGER = "forge_min.access"


class AccessLog:
    """A callable for (method, path, status, seconds) of each request, from any thread.

    Between `start` and `stop` the stream's thread writes (writer.py), so that no request waits for
    the stream. Otherwise each line is written at once, unless a handler of the same stream has
    started that thread.

    stream: the output, default stderr.
    format: as for `new_handler`.
    level: of the whole log; above "info" nothing is written.

    Raises ValueError for an unknown format or level.
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
        self._format = new_formatter(format, stream).format
        # A logging.Handler checks the name.
        self._enabled = logging.Handler(level.upper()).level <= logging.INFO
        self._lines = line_writer(stream)
        self._put = self._lines.put
        self._started = False

    def __call__(self, method: str, path: str, status: int, seconds: float) -> None:
        """Add a line. Fields come from `log_fields` and from the current span."""
        if not self._enabled:
            return
        line = None
        if self._json:
            # PERF: plain values are formatted in one pass; a LogRecord and its formatter cost as
            # much as the rest of a request (benchmarks/http, hello).
            line = try_format_access_line(
                time.time(), method, path, status, seconds, log_fields.get(), current.get()
            )
        self._put(line or self._line(method, path, status, seconds))

    def start(self) -> None:
        """Start the stream's thread, which writes from now on. Idempotent."""
        if not self._started:
            self._started = True
            self._lines.start()

    def stop(self) -> None:
        """Write queued lines, and end the thread unless a handler uses it. Idempotent."""
        if self._started:
            self._started = False
            self._lines.stop()

    def _line(self, method: str, path: str, status: int, seconds: float) -> str:
        message = f"{method} {path} {status} {seconds * 1e3:.1f}ms"
        record = logging.LogRecord(LOGGER, logging.INFO, "", 0, message, None, None)
        micro = floor(seconds * 1e6 + 0.5) / 1e6 if isfinite(seconds * 1e6) else seconds
        record.__dict__.update(method=method, status=status, duration=micro)
        return self._format(record) + "\n"
