"""The log handler and the access log: one line per record, as text or JSON.

Values from clients cannot start a line: text escapes every unprintable character, JSON is ASCII.
Fields come from `extra=`, from `log_fields` and from the current span. Likely secrets, and row
values that a database repeats in its errors, are redacted (redaction.py). A line of the access log
equals that of an INFO record of `forge_min.access` with the fields method, status and duration
(seconds).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from math import floor, isfinite
from types import MappingProxyType
from typing import TextIO

from ...errors import printable
from ...fanout import try_format_access_line
from ...redaction import MASK, format_traceback, is_secret, redact, redact_error
from ..tracing import SpanContext, current
from .writer import LineWriter, line_writer

FieldValue = str | int | float | bool | None

_OWN = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}
_LARGEST = 64  # bits of an integer that is written as a number
_FIRST = 100  # records per second of one logging call; then every 100th is written
_CALLS = 1000  # logging calls that are tracked
_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}


log_fields: ContextVar[Mapping[str, object]] = ContextVar(
    "forge_log_fields", default=MappingProxyType({})
)
"""Fields of the records logged in this context: request_id, user_id, tenant_id, route, job..."""


def add_log_fields(**fields: object) -> None:
    """Add fields to all further log records of the current request or job."""
    current_fields = log_fields.get()
    if isinstance(current_fields, dict):  # SAFETY: made by this request, and not shared
        current_fields.update(fields)


@contextmanager
def log_context(**fields: object) -> Iterator[None]:
    """Set the fields of all log records in the block; `add_log_fields` adds to them."""
    token = log_fields.set(fields)
    try:
        yield
    finally:
        log_fields.reset(token)


def new_handler(
    stream: TextIO | None = None,
    *,
    format: str = "auto",
    level: str = "info",
    queued: bool = True,
) -> _Handler:
    """Return a handler for `logging.getLogger().addHandler()`.

    If a logging call runs more than 100 times in a second, only every 100th of its further records
    is written. The field `repeated` counts the records omitted before it. `flush()` waits for the
    thread, at most 2 seconds.

    stream: the output, default stderr.
    format: "text" (coloured on a terminal unless NO_COLOR is set), "json", or "auto": text on a
        terminal, JSON elsewhere.
    level: "debug", "info", "warning" or "error"; records below it are not written.
    queued: True: the thread `log-writer` writes, so that the logging thread never waits. Lines
        beyond its capacity are counted (writer.py). False: the logging thread writes, until
        `line_writer(stream).start()`.

    Raises ValueError for an unknown format or level.
    """
    if stream is None:
        stream = sys.stderr
    formatter: logging.Formatter = _JSONFormatter()
    if is_text(format, stream):
        formatter = _TextFormatter(stream.isatty() and not os.environ.get("NO_COLOR"))
    handler = _Handler(line_writer(stream), level.upper(), queued)
    handler.setFormatter(formatter)
    return handler


def is_text(format: str, stream: TextIO) -> bool:
    """Return whether this format is text on this stream, not JSON. Raises ValueError."""
    if format not in ("auto", "text", "json"):
        raise ValueError(f"format must be 'auto', 'text' or 'json', not {format!r}")
    if format == "auto":
        return stream.isatty()
    return format == "text"


class RepeatLimiter:
    """Allows the first 100 records per second of each logging call, and then every 100th.

    A database that is down causes a traceback per request, and the first ones suffice. Called by
    one thread at a time, which holds the handler's lock.
    """

    def __init__(self) -> None:
        # logging call → second, records in it, records omitted since the last one written
        self._counts: dict[tuple[str, int, str, int], list[int]] = {}

    def omitted_before(self, record: logging.LogRecord) -> int | None:
        """Return the number of records omitted before this one; None omits this one too."""
        call = record.name, record.levelno, record.pathname, record.lineno
        counts = self._counts.get(call)
        if counts is None:
            if len(self._counts) >= _CALLS:  # of code generated at run time: forget all
                self._counts.clear()
            counts = self._counts[call] = [0, 0, 0]
        second = int(record.created)
        if counts[0] != second:
            counts[0] = second
            counts[1] = 0
        counts[1] += 1
        if counts[1] > _FIRST and counts[1] % _FIRST:
            counts[2] += 1
            return None
        omitted = counts[2]
        counts[2] = 0
        return omitted


class _Handler(logging.Handler):
    def __init__(self, lines: LineWriter, level: str, queued: bool) -> None:
        super().__init__(level)
        self.lines = lines
        self._repeats = RepeatLimiter()
        self._queued = queued
        if queued:
            lines.start()

    def emit(self, record: logging.LogRecord) -> None:
        omitted = self._repeats.omitted_before(record)
        if omitted is None:
            self.lines.drop("repeated")
            return
        if omitted:
            record.__dict__["repeated"] = omitted
        try:
            self.lines.put(self.format(record) + "\n")
        except Exception:  # a log that fails must not end its caller
            self.lines.drop("failed")
        if omitted:
            del record.__dict__["repeated"]

    def flush(self) -> None:
        self.lines.flush()

    def close(self) -> None:
        if self._queued:
            self._queued = False
            self.lines.stop()
        super().close()


class _JSONFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        fields = _fields(record)
        exception = _exception(record)
        if exception:
            fields["exception"] = exception
        members = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        # A field cannot replace a member of the line itself.
        return json.dumps({**members, **fields, **members}, separators=(",", ":"))


class _TextFormatter(logging.Formatter):
    def __init__(self, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = f"{printable(record.levelname):<7}"
        if self._colour:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        moment = datetime.fromtimestamp(record.created).isoformat(" ", "milliseconds")
        line = f"{moment} {level} {printable(record.name)} {printable(_message(record))}"
        for key, value in _fields(record).items():
            line += f" {printable(key)}={_quoted(value)}"
        for row in _exception(record).splitlines():
            line += "\n    | " + printable(row)
        return line


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # a wrong format string must not hide the message
        text = f"{_repr(record.msg)} % {_repr(record.args)}"
    return redact_error(text, (record.msg, record.args))


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as err:
        return f"<{type(value).__name__}: {type(err).__name__} in repr()>"


def _fields(record: logging.LogRecord) -> dict[str, FieldValue]:
    extra = {key: value for key, value in vars(record).items() if key not in _OWN}
    fields = {**log_fields.get(), **span_fields(current.get()), **extra}
    return {str(key): _field(str(key), value) for key, value in fields.items()}


def span_fields(context: SpanContext | None) -> dict[str, str]:
    """Return the log fields of a span, {} without one."""
    if context is None:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _field(name: str, value: object) -> FieldValue:
    """Return the value of a field as it is written."""
    if is_secret(name):
        return MASK
    plain = _plain(value)
    if isinstance(plain, str):
        return redact_error(plain, value)
    return plain


def _plain(value: object) -> FieldValue:
    """Return a value of a JSON type; if the conversion raises, describe the value."""
    try:
        # SAFETY: methods of the built-in classes: those of a subclass may differ or raise.
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return value if type(value) is str else str.__str__(value)
        if isinstance(value, int) and int.bit_length(value) <= _LARGEST:
            return value if type(value) is int else int.__int__(value)
        if isinstance(value, float):
            return float.__float__(value) if isfinite(value) else float.__repr__(value)
        return str(value)
    except Exception as err:
        return f"<{type(value).__name__}: {type(err).__name__} in str()>"


def _exception(record: logging.LogRecord) -> str:
    text = ""
    if record.exc_info and record.exc_info[0] is not None:
        text = format_traceback(*record.exc_info[1:])
    if record.stack_info:
        text += redact(record.stack_info)
    return text.rstrip("\n")


def _quoted(value: FieldValue) -> str:
    """Return the value for `key=value`, in quotes if it would be ambiguous."""
    text = str(value)
    if text and text.isprintable() and not any(c in ' "=' for c in text):
        return text
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


# -- the access log --------------------------------------------------------------------------------


LOGGER = "forge_min.access"


class AccessLog:
    """A callable for (method, path, status, seconds) of each request, from any thread.

    The attribute `lines` is the writer of the stream. Once its thread is started, no request waits
    for the stream; else each line is written at once.

    stream: the output, default stderr.
    format: as for `new_handler`.
    level: of the whole log; above "info" nothing is written.

    Raises ValueError for an unknown format or level.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        format: str = "auto",
        level: str = "info",
    ) -> None:
        handler = new_handler(stream, format=format, level=level, queued=False)
        self._format = handler.format
        self._json = isinstance(handler.formatter, _JSONFormatter)
        self._enabled = handler.level <= logging.INFO
        self.lines = handler.lines
        self._put = self.lines.put

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

    def _line(self, method: str, path: str, status: int, seconds: float) -> str:
        message = f"{method} {path} {status} {seconds * 1e3:.1f}ms"
        record = logging.LogRecord(LOGGER, logging.INFO, "", 0, message, None, None)
        if isfinite(seconds * 1e6):
            seconds = floor(seconds * 1e6 + 0.5) / 1e6
        record.__dict__.update(method=method, status=status, duration=seconds)
        return self._format(record) + "\n"
