"""Migrations from schemas: the desired DDL, and the file that leads there from the files so far.

Knows no database driver: a connection to an empty database is handed in.
"""

from __future__ import annotations

from .desired import desired_sql
from .diff import Migration, diff
from .parts import read_catalog
from .plan import Risk
from .renames import Decisions

__all__ = ["Decisions", "Migration", "Risk", "desired_sql", "diff", "read_catalog"]
