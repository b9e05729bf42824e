"""Reads `resources/*/schema.py` without running it: the IR and every diagnostic at once.

The classes of the IR are in `parse.ir`.
"""

from __future__ import annotations

from .diagnostic import Diagnostic
from .ir import ResourceIR
from .links import lower, settle
from .project import Parsed, parse_project

__all__ = ["Diagnostic", "Parsed", "ResourceIR", "lower", "parse_project", "settle"]
