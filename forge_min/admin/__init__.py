"""The operations server: metrics, health, readiness and stacks, apart from the application's own.

Loads neither psycopg nor OpenTelemetry.
"""

from .server import AdminServer

__all__ = ["AdminServer"]
