"""Reads `resources/*/schema.py` without running it: the IR and every diagnostic at once."""

from __future__ import annotations

from .diagnostic import Diagnostic
from .ir import FieldIR, HooksIR, JobRefIR, RelationIR, ResourceIR, Span
from .lower import lower
from .project import Parsed, parse_project

__all__ = [
    "Diagnostic",
    "FieldIR",
    "HooksIR",
    "JobRefIR",
    "Parsed",
    "RelationIR",
    "ResourceIR",
    "Span",
    "lower",
    "parse_project",
]
