"""The admin server: metrics, health, readiness, traces, profiles and jobs, on a port of its own.

Loads neither psycopg nor OpenTelemetry. The public modules are not imported here: a page would wait
for them.
"""

__all__ = ["inspection", "jobs", "server"]
