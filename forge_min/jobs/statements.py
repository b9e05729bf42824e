"""The named statements of jobs.sql, loaded once."""

from __future__ import annotations

from ..db import load_sql

SQL = load_sql("forge_min.jobs", "jobs.sql")
