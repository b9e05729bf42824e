"""Logs: the handler of stdlib logging, the access log, and the parts that both share."""

from .access import AccessLog
from .handler import add_log_fields, is_text, log_context, log_fields, new_handler
from .redaction import format_traceback, redact_error
from .writer import LineWriter, line_writer

__all__ = [
    "AccessLog", "LineWriter", "add_log_fields", "format_traceback", "is_text", "line_writer",
    "log_context", "log_fields", "new_handler", "redact_error",
]  # fmt: skip
