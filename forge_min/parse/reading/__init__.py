"""One schema file, read: its text, the calls in it, the definition that they make."""

from __future__ import annotations

from .definition import RELATIONS, Definition, read_definition
from .evaluate import Node, report_all
from .source import Source, read_source

__all__ = [
    "RELATIONS",
    "Definition",
    "Node",
    "Source",
    "read_definition",
    "read_source",
    "report_all",
]
