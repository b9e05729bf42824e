"""The project of a command: its folder, its code on sys.path, its schemas."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ErrorGroup, UsageError

if TYPE_CHECKING:
    from ..parse import ResourceIR


def find_root(args: argparse.Namespace) -> Path:
    """Return the folder of --project, else the nearest one upwards that has a forge.toml.

    Raises UsageError F011 if no folder has one.
    """
    start = Path(args.project or ".").absolute()
    place = str(start)
    folders = [start]
    if not args.project:
        place += " or above it"
        folders += start.parents
    for folder in folders:
        if (folder / "forge.toml").is_file():
            return folder
    hint = "name the folder with --project DIR, or start a project: forge-min init NAME"
    if os.environ.get("FORGE_CONFIG"):
        hint = "FORGE_CONFIG replaces forge.toml, but a project needs the file, which may be empty"
    raise UsageError(f"forge.toml was not found in {place}", code="F011", hint=hint)


def use_code(root: Path) -> None:
    """Put the project's code first on sys.path, and its _vendor/ before that."""
    sys.path.insert(0, str(root))
    vendor = root / "_vendor"
    if vendor.is_dir():
        sys.path.insert(0, str(vendor))


def read_resources(root: Path, *, as_json: bool) -> tuple[ResourceIR, ...]:
    """Return the project's resources, or print all diagnostics and raise an empty ErrorGroup.

    as_json: print {"diagnostics": [...]} on stdout instead of text on stderr.
    """
    from ..ship import parse_schemas

    parsed = parse_schemas(root)
    if not parsed.diagnostics:
        return parsed.resources
    if as_json:
        diagnostics = [diagnostic.as_json() for diagnostic in parsed.diagnostics]
        print(json.dumps({"diagnostics": diagnostics}))
    else:
        color = sys.stderr.isatty() and not os.environ.get("NO_COLOR")  # cli sets it for --no-color
        for diagnostic in parsed.diagnostics:
            print(diagnostic.format(color=color), file=sys.stderr)
    raise ErrorGroup("a schema has errors", ())
