"""Migrations from schemas: the desired DDL, and the file that leads there from the files so far.

Knows no database driver: a connection to an empty database is handed in.
"""

from __future__ import annotations

from .desired import desired_sql
from .diff import Migration, diff

__all__ = ["Migration", "desired_sql", "diff"]
