"""generate: gen/ from the schemas, and the files of a resource that are scaffolded once."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BuildError, UsageError
from .project import find_root, read_resources
from .tree import add_command

if TYPE_CHECKING:
    from ..parse import ResourceIR
    from .tree import Commands


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "generate",
        _generate,
        help="write gen/ from resources/*/schema.py",
        example="generate --check",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if gen/ is stale")
    things = parser.add_subparsers(metavar="THING")
    resource = add_command(
        things,
        "resource",
        _resource,
        help="write the files of a resource that are yours: actions.py, jobs.py",
        example="generate resource Product",
    )
    resource.add_argument("name", metavar="NAME", help="as in its schema: Product")


def _generate(args: argparse.Namespace) -> int:
    from ..generate import generate

    root = find_root(args)
    resources = read_resources(root)
    if resources is None:
        return 1
    written = [] if args.check else scaffold_all(root, resources)
    report = generate(root, resources, check=args.check)
    if args.check and report.stale:
        names = [*report.written, *report.removed]
        shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        raise BuildError(f"gen/ is stale: {shown}", code="F305", hint="run: forge-min generate")
    if args.json:
        changes = {"written": report.written, "removed": report.removed, "scaffolded": written}
        print(json.dumps(changes))
    else:
        for path in written:
            print(f"wrote {path}: it is yours from now on")
        changed = f"{len(report.written)} written, {len(report.removed)} removed"
        print(f"gen/: {changed}, {len(report.unchanged)} unchanged")
    return 0


def _resource(args: argparse.Namespace) -> int:
    from ..generate import generate, scaffold_resource

    root = find_root(args)
    resources = read_resources(root)
    if resources is None:
        return 1
    written = scaffold_resource(root, _named(args.name, resources))
    generate(root, resources)
    if args.json:
        print(json.dumps({"written": written}))
    else:
        print("\n".join(f"wrote {path}" for path in written) or "nothing to write: all is there")
    return 0


def scaffold_all(root: Path, resources: Iterable[ResourceIR]) -> list[str]:
    """Write what is missing of the files that are the user's; gen/ imports them. Paths written."""
    from ..generate import scaffold_resource

    return [path for resource in resources for path in scaffold_resource(root, resource)]


def _named(name: str, resources: tuple[ResourceIR, ...]) -> ResourceIR:
    for resource in resources:
        if name in (resource.name, resource.folder):
            return resource
    known = ", ".join(resource.name for resource in resources) or "none yet"
    raise UsageError(
        f"no schema defines {name!r}; known: {known}",
        hint=f'write schema.define("{name}", ...) in resources/{name.lower()}/schema.py first',
    )
