"""The admin server: metrics, health, readiness, profiles and plots, on a port of its own.

Loads neither psycopg nor OpenTelemetry. Each module is loaded at its first use (PEP 562).
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports

if TYPE_CHECKING:
    from .history import SERIES, Figures, JobCounts
    from .inspection import ProcessInspector, Reply
    from .jobs import JobsPages
    from .server import AdminServer

__getattr__ = lazy_exports(
    __name__,
    {
        "history": ["Figures", "JobCounts", "SERIES"],
        "inspection": ["ProcessInspector", "Reply"],
        "jobs": ["JobsPages"],
        "server": ["AdminServer"],
    },
)

__all__ = [
    "AdminServer", "Figures", "JobCounts", "JobsPages", "ProcessInspector", "Reply", "SERIES",
]  # fmt: skip
