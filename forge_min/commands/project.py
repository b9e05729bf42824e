"""The project that a command works on: its folder, its place on sys.path, its schemas."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..parse import ResourceIR


def find_root(args: argparse.Namespace) -> Path:
    """The folder of --project, else the nearest one upwards that holds forge.toml.

    Raises UsageError F011 where there is none.
    """
    start = Path(args.project or ".").absolute()
    candidates = [start] if args.project else [start, *start.parents]
    for folder in candidates:
        if (folder / "forge.toml").is_file():
            return folder
    raise UsageError(
        f"no forge.toml in {start}" + ("" if args.project else " or above it"),
        code="F011",
        hint="name the folder with --project DIR, or start a project: forge-min init NAME",
    )


def use_code(root: Path) -> None:
    """Put the project's code first on sys.path, and what it vendors before that."""
    vendor = root / "_vendor"
    sys.path[:0] = [str(vendor), str(root)] if vendor.is_dir() else [str(root)]


def read_resources(root: Path, *, as_json: bool = False) -> tuple[ResourceIR, ...] | None:
    """The project's resources. None when a schema is wrong: every diagnostic is printed then.

    as_json: on stdout, as {"diagnostics": [...]}; else for people, on stderr.
    """
    from ..parse import parse_project

    parsed = parse_project(root)
    if parsed.diagnostics and as_json:
        print(json.dumps({"diagnostics": [found.as_json() for found in parsed.diagnostics]}))
    for diagnostic in () if as_json else parsed.diagnostics:
        print(diagnostic.format(color=has_colour()), file=sys.stderr)
    return None if parsed.diagnostics else parsed.resources


def has_colour() -> bool:
    """Whether stderr takes colours: a terminal, and neither NO_COLOR nor --no-color."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")
