"""Reads `resources/*/schema.py` without running it: the IR and every diagnostic at once."""

from __future__ import annotations

from .diagnostic import Diagnostic
from .ir import TYPES, ColumnIR, ResourceIR
from .lowering import RelationEdge, joins, links, lower, resolve
from .names import MAX_NAME, constraint_name, folder_of
from .project import Parsed, parse_project

__all__ = [
    "ColumnIR", "Diagnostic", "MAX_NAME", "Parsed", "RelationEdge", "ResourceIR", "TYPES",
    "constraint_name", "folder_of", "joins", "links", "lower", "parse_project", "resolve",
]  # fmt: skip
