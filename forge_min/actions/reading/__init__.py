"""Reading: list queries, cursors, search, related rows, the log of changes. Nothing here writes."""

from .reader import AuditEntry, Reader

__all__ = ["AuditEntry", "Reader"]
