"""init: a new project."""

from __future__ import annotations

import argparse
from pathlib import Path

from .project import read_resources


def init(args: argparse.Namespace) -> int:
    """The project's files, its gen/ and its first migration."""
    from ..generate import generate, scaffold_project, scaffold_resource
    from ..migrations import diff
    from ..ops.door import tell

    folder = Path(args.project or ".", args.name)
    written = scaffold_project(folder, args.name)
    resources = read_resources(folder, as_json=args.json)
    written += scaffold_resource(folder, *resources)
    generate(folder, resources)
    first = diff(folder, resources, [])
    if first is not None:
        written.append(first.write().relative_to(folder).as_posix())
    lines = [f"{folder}: {len(written)} files", f"next: cd {folder} && python -m forge_min serve"]
    tell({"project": str(folder), "written": written}, lines, as_json=args.json)
    return 0
