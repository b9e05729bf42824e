"""The operations server: metrics, health, readiness, profiles and plots, apart from the
application's own.

Loads neither psycopg nor OpenTelemetry, and each of its parts when it is asked for (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .history import SERIES, Figures, Jobs
    from .inside import Inside, OneProcess, Told
    from .server import AdminServer

_PLACES = {
    "AdminServer": "server",
    "Figures": "history",
    "Inside": "inside",
    "Jobs": "history",
    "OneProcess": "inside",
    "SERIES": "history",
    "Told": "inside",
}

__all__ = ["AdminServer", "Figures", "Inside", "Jobs", "OneProcess", "SERIES", "Told"]


def __getattr__(name: str) -> Any:
    """PERF: a page does not wait for what shows plots (benchmarks/observe/traces.py)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
