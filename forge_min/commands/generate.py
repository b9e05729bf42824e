"""generate: gen/ from the schemas, and the files of a resource that are scaffolded once."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
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
    how = resource.add_mutually_exclusive_group()
    how.add_argument("--diff", action="store_true", help="show what a fresh scaffold would change")
    how.add_argument("--force", action="store_true", help="write them anew, edited or not")


def _generate(args: argparse.Namespace) -> int:
    from ..generate import generate

    root = find_root(args)
    resources = read_resources(root, as_json=args.json)
    if resources is None:
        return 1
    written = [] if args.check else scaffold_all(root, resources)
    report = generate(root, resources, check=args.check)
    if args.json:
        changes = {"written": report.written, "removed": report.removed, "scaffolded": written}
        print(json.dumps(changes))
    elif args.check:
        found = {"stale": report.written, "left over": report.removed}
        print("".join(f"{word}: gen/{path}\n" for word in found for path in found[word]), end="")
    else:
        for path in written:
            print(f"wrote {path}: it is yours from now on")
        changed = f"{len(report.written)} written, {len(report.removed)} removed"
        print(f"gen/: {changed}, {len(report.unchanged)} unchanged")
    if args.check and report.stale:
        count = len(report.written) + len(report.removed)
        raise BuildError(
            f"gen/ is stale: files that differ: {count}",
            code="F305",
            hint="run: forge-min generate",
        )
    return 0


def _resource(args: argparse.Namespace) -> int:
    from ..generate import compare_scaffold, generate, scaffold_resource

    root = find_root(args)
    resources = read_resources(root, as_json=args.json)
    if resources is None:
        return 1
    resource = _named(args.name, resources)
    states, changes = compare_scaffold(root, resource, known=resources)
    answer: dict[str, object] = {"files": states}
    lines = [f"{path}: {state}" for path, state in states.items()]
    if args.diff:
        answer["diff"] = changes
        lines.append(changes.rstrip("\n"))
    else:
        written = scaffold_resource(root, resource, known=resources, overwrite=args.force)
        generate(root, resources)
        answer["written"] = written
        lines = [f"wrote {path}: it was {states[path]}" for path in written]
        lines = lines or ["nothing to write: all is there"]
    print(json.dumps(answer) if args.json else "\n".join(lines).rstrip("\n"))
    return 0


def scaffold_all(root: Path, resources: Sequence[ResourceIR]) -> list[str]:
    """Write what is missing of the files that are the user's; gen/ imports them. Paths written."""
    from ..generate import scaffold_resource

    return scaffold_resource(root, *resources)


def _named(name: str, resources: tuple[ResourceIR, ...]) -> ResourceIR:
    for resource in resources:
        if name in (resource.name, resource.folder):
            return resource
    known = ", ".join(resource.name for resource in resources) or "none yet"
    raise UsageError(
        f"no schema defines {name!r}; known: {known}",
        hint=f'write schema.define("{name}", ...) in resources/{name.lower()}/schema.py first',
    )
