"""Builds a project from its folder. No tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forge_min import ship


def build(root: Path, **options: Any) -> ship.BuildResult:
    """`ship.build` with the schemas of the project, which must be valid."""
    parsed = ship.parse_schemas(root)
    assert parsed.diagnostics == ()
    return ship.build(root, parsed.resources, **options)
