"""Migrations from schemas: the desired DDL, and the next migration file.

Uses no database driver: the caller passes connections to empty databases.
"""

from .desired import desired_sql
from .diff import Migration, diff
from .renames import Decisions

__all__ = ["Decisions", "Migration", "desired_sql", "diff"]
