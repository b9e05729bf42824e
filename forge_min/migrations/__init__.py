"""Migrations from schemas: the desired DDL, and the next migration file.

Uses no database driver: the caller passes connections to empty databases.
"""

from __future__ import annotations

from .desired import desired_sql
from .diff import Migration, diff
from .objects import read_catalog
from .plan import Risk
from .renames import Decisions

__all__ = ["Decisions", "Migration", "Risk", "desired_sql", "diff", "read_catalog"]
