"""Generates gen/ from resources, atomically, and scaffolds the user's files once."""

from .project import (
    check_new,
    compare_scaffold,
    generate,
    scaffold_project,
    scaffold_resource,
    scaffold_views,
)
from .tree import exchange, locked

__all__ = [
    "check_new", "compare_scaffold", "exchange", "generate", "locked", "scaffold_project",
    "scaffold_resource", "scaffold_views",
]  # fmt: skip
