"""A PostgreSQL server of our own for development and tests: found, initialised, run, stopped."""

from .binaries import candidates
from .launcher import write_private
from .server import EmbeddedServer, scratch_database

__all__ = ["EmbeddedServer", "candidates", "scratch_database", "write_private"]
