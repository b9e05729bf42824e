"""Logs: the handler of stdlib logging, the access log, and what both go through."""

from .access import AccessLog
from .fields import log_fields, note, noting
from .handler import is_text, new_handler
from .redaction import masked, tidied, trace_of
from .writer import LineWriter, lines_to

__all__ = [
    "AccessLog", "LineWriter", "is_text", "lines_to", "log_fields", "masked", "new_handler", "note",
    "noting", "tidied", "trace_of",
]  # fmt: skip
