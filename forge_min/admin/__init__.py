"""The operations server: metrics, health, readiness, profiles and plots, apart from the
application's own.

Loads neither psycopg nor OpenTelemetry, and each of its parts when it is asked for (PEP 562).
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports

if TYPE_CHECKING:
    from .history import SERIES, Figures, JobCounts
    from .inspection import LocalInspector, ProcessInspector, Reply
    from .jobs import JobsPages
    from .server import AdminServer

__getattr__ = lazy_exports(
    __name__,
    {
        "history": ["Figures", "JobCounts", "SERIES"],
        "inspection": ["ProcessInspector", "LocalInspector", "Reply"],
        "jobs": ["JobsPages"],
        "server": ["AdminServer"],
    },
)

__all__ = [
    "AdminServer", "Figures", "JobCounts", "JobsPages", "LocalInspector", "ProcessInspector",
    "Reply", "SERIES",
]  # fmt: skip
