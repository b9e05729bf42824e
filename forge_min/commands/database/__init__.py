"""db: a terminal on the project's database, empty tables, and the rows to begin with."""

from . import console, reset, seed

__all__ = ["console", "reset", "seed"]
