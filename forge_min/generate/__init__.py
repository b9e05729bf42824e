"""From resources to files: gen/ written whole and atomically, the user's files scaffolded once."""

from __future__ import annotations

from .project import (
    check_new,
    compare_scaffold,
    generate,
    scaffold_project,
    scaffold_resource,
    scaffold_views,
)
from .tree import exchange

__all__ = [
    "check_new", "compare_scaffold", "exchange", "generate", "scaffold_project",
    "scaffold_resource", "scaffold_views",
]  # fmt: skip
