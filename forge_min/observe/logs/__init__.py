"""Logs: the handler of stdlib logging, the access log, and the parts that both share."""

from .access import AccessLog
from .handler import log_fields
from .redaction import format_traceback, redact_error
from .writer import LineWriter, line_writer

__all__ = [
    "AccessLog", "LineWriter", "format_traceback", "line_writer", "log_fields", "redact_error",
]  # fmt: skip
