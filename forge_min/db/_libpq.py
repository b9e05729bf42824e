"""The first import of psycopg: where no libpq can be loaded, the error has a code and a hint."""

from __future__ import annotations

from ..errors import Unavailable

try:
    import psycopg
except ImportError as err:
    raise Unavailable(
        "PostgreSQL's client library (libpq) was not found, so no database can be reached",
        code="F402",
        hint="pip install 'psycopg[binary]', or install libpq (Debian: libpq5, Alpine: libpq)",
    ) from err

__all__ = ["psycopg"]
