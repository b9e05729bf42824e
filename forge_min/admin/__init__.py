"""The admin server: metrics, health, readiness, profiles and plots, on a port of its own.

Loads neither psycopg nor OpenTelemetry. Its users import the public modules when they need them.
"""

__all__ = ["history", "inspection", "jobs", "server"]
