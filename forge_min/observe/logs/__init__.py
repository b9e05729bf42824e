"""Logs: the handler of stdlib logging, the access log, their writer, and redaction."""

from .handler import log_fields
from .redaction import format_traceback, redact_error

__all__ = ["format_traceback", "log_fields", "redact_error"]
