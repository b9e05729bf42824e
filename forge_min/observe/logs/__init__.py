"""Logs: the handler of stdlib logging, the access log, and what both go through."""

from .access import AccessLog
from .fields import log_fields, note, noting
from .handler import new_handler
from .lines import LineWriter, lines_to
from .masks import tidied

__all__ = [
    "AccessLog",
    "LineWriter",
    "lines_to",
    "log_fields",
    "new_handler",
    "note",
    "noting",
    "tidied",
]
