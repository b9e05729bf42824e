"""From resources to files: gen/ written whole and atomically, the user's files scaffolded once."""

from __future__ import annotations

from .project import compare_scaffold, generate, scaffold_project, scaffold_resource
from .scaffold import scaffold
from .tree import Report, write_tree

__all__ = [
    "Report",
    "compare_scaffold",
    "generate",
    "scaffold",
    "scaffold_project",
    "scaffold_resource",
    "write_tree",
]
