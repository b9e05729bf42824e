"""A PostgreSQL server of our own for development and tests: found, initialised, run, stopped."""

from __future__ import annotations

from .scratch import scratch_database
from .server import EmbeddedServer

__all__ = ["EmbeddedServer", "scratch_database"]
