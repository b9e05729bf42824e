"""Read-only checks of a site. What is checked is handed in; nothing here reads a configuration."""

from .events import check_events
from .finding import Finding
from .jobs import check_jobs
from .pages import check_pages

__all__ = ["Finding", "check_events", "check_jobs", "check_pages"]
