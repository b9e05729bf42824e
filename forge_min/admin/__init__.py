"""The operations server: metrics, health, readiness, profiles and plots, apart from the
application's own.

Loads neither psycopg nor OpenTelemetry, and each of its parts when it is asked for (PEP 562).
"""

from typing import TYPE_CHECKING

from ..late import late

if TYPE_CHECKING:
    from .history import SERIES, Figures, Jobs
    from .inside import Inside, OneProcess, Told
    from .server import AdminServer

__getattr__ = late(
    __name__,
    {
        "AdminServer": "server.AdminServer",
        "Figures": "history.Figures",
        "Inside": "inside.Inside",
        "Jobs": "history.Jobs",
        "OneProcess": "inside.OneProcess",
        "SERIES": "history.SERIES",
        "Told": "inside.Told",
    },
)

__all__ = ["AdminServer", "Figures", "Inside", "Jobs", "OneProcess", "SERIES", "Told"]
