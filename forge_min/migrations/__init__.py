"""Migrations from schemas: the desired DDL, and the file that leads there from the files so far.

Knows no database driver: a connection to an empty database is handed in.
"""

from __future__ import annotations

from .desired import desired_sql
from .diff import Migration, Risk, diff
from .names import constraint_name

__all__ = ["Migration", "Risk", "constraint_name", "desired_sql", "diff"]
