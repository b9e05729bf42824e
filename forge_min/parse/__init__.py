"""Reads `resources/*/schema.py` without running it: returns the IR and all diagnostics."""

from .condition import condition_fields, parse_condition
from .diagnostic import Diagnostic
from .ir import TYPES, ColumnIR, ResourceIR
from .lowering import RelationEdge, check_names, edges_of, join_edges, lower, resolve
from .names import MAX_NAME, constraint_name, folder_of, name_of
from .project import Parsed, parse_project
from .report import aggregate_names
from .title import title_of

__all__ = [
    "ColumnIR", "Diagnostic", "MAX_NAME", "Parsed", "RelationEdge", "ResourceIR", "TYPES",
    "aggregate_names", "check_names", "condition_fields", "constraint_name", "edges_of",
    "folder_of", "join_edges", "lower", "name_of", "parse_condition", "parse_project", "resolve",
    "title_of",
]  # fmt: skip
