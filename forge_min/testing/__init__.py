"""What tests of forge_min and of projects stand on: databases of their own, made in
milliseconds.
"""

from __future__ import annotations

from .database import TestDatabase, fresh_database

__all__ = ["TestDatabase", "fresh_database"]
