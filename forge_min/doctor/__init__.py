"""Read-only checks of a site. What is checked is handed in; nothing here reads a configuration."""

from .events import check_events
from .finding import Finding
from .pages import check_pages

__all__ = ["Finding", "check_events", "check_pages"]
