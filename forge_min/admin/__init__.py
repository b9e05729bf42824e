"""The operations server: metrics, health, readiness, profiles and plots, apart from the
application's own.

Loads neither psycopg nor OpenTelemetry.
"""

from .history import SERIES, Figures, Jobs
from .inside import Inside, OneProcess, Told
from .server import AdminServer

__all__ = ["AdminServer", "Figures", "Inside", "Jobs", "OneProcess", "SERIES", "Told"]
