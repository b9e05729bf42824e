"""Reading: list queries, cursors, search, related rows, the log of changes. Nothing here writes."""

from .audit import AuditEntry
from .reader import Reader

__all__ = ["AuditEntry", "Reader"]
