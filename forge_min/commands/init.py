"""init: a new project."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from .generate import scaffold_all
from .project import read_resources
from .tree import add_command

if TYPE_CHECKING:
    from .tree import Commands


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        commands, "init", _init, help="start a project that runs at once", example="init shop"
    )
    parser.add_argument("name", metavar="NAME", help="its name; the new folder's, too")


def _init(args: argparse.Namespace) -> int:
    from ..generate import generate, scaffold_project
    from ..migrations import diff

    folder = Path(args.project or ".", args.name)
    written = scaffold_project(folder, args.name)
    resources = read_resources(folder, as_json=args.json)
    if resources is None:
        return 1
    written += scaffold_all(folder, resources)
    generate(folder, resources)
    first = diff(folder, resources, [])
    if first is not None:
        written.append(first.write().relative_to(folder).as_posix())
    if args.json:
        print(json.dumps({"project": str(folder), "written": written}))
    else:
        print(f"{folder}: {len(written)} files")
        print(f"next: cd {folder} && python -m forge_min serve")
    return 0
