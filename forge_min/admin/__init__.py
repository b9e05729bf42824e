"""The operations server: metrics, health, readiness, profiles and plots, apart from the
application's own.

Loads neither psycopg nor OpenTelemetry, and each of its parts when it is asked for (PEP 562).
"""

from typing import TYPE_CHECKING

from ..late import late

if TYPE_CHECKING:
    from .history import SERIES, Figures, Jobs
    from .inside import Inside, OneProcess, Told
    from .jobs import JobsPages
    from .server import AdminServer

__getattr__ = late(
    __name__,
    {
        "history": ["Figures", "Jobs", "SERIES"],
        "inside": ["Inside", "OneProcess", "Told"],
        "jobs": ["JobsPages"],
        "server": ["AdminServer"],
    },
)

__all__ = ["AdminServer", "Figures", "Inside", "Jobs", "JobsPages", "OneProcess", "SERIES", "Told"]
