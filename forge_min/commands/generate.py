"""generate: write gen/ from the schemas, and scaffold the files of a resource once."""

from __future__ import annotations

import argparse

from .. import generate as generator
from ..errors import BuildError, UsageError
from ..migrations import desired_sql
from ..ops import print_result
from ..parse import ResourceIR, folder_of
from .project import find_root, read_resources


def generate(args: argparse.Namespace) -> None:
    """Write or check gen/. Raises BuildError F305 if a check finds stale files."""
    root = find_root(args)
    resources = read_resources(root, as_json=args.json)
    desired_sql(resources)  # raises before any file is written
    scaffolded = []
    if not args.check:  # gen/ imports the scaffolded files
        scaffolded = generator.scaffold_resource(root, *resources)
    report = generator.generate(root, resources, check=args.check)
    changes = {"written": report.written, "removed": report.removed, "scaffolded": scaffolded}
    count = len(report.written) + len(report.removed)
    if args.check:
        lines = [f"stale: gen/{path}" for path in report.written]
        lines += [f"left over: gen/{path}" for path in report.removed]
    else:
        lines = [f"wrote {path}: yours to edit" for path in scaffolded]
        changed = f"{len(report.written)} written, {len(report.removed)} removed"
        lines.append(f"gen/: {changed}, {len(report.unchanged)} unchanged")
    print_result(changes, lines, as_json=args.json)
    if args.check and count:
        raise BuildError(
            f"gen/ is stale: files that differ: {count}",
            code="F305",
            hint="run: forge-min generate",
        )


def resource(args: argparse.Namespace) -> None:
    """Scaffold missing files of a resource; --force writes all, --diff only compares."""
    root = find_root(args)
    resources = read_resources(root, as_json=args.json)
    resource = _named(args.name, resources)
    states, changes = generator.compare_scaffold(root, resource, known=resources)
    output: dict[str, object] = {"files": states}
    lines = [f"{path}: {state}" for path, state in states.items()]
    if args.diff:
        output["diff"] = changes
        if changes:
            lines.append(changes.rstrip("\n"))
    else:
        before = dict(states)
        for view in root.glob(f"resources/{resource.folder}/views/*.html"):
            before.setdefault(view.relative_to(root).as_posix(), "replaced")
        written = generator.scaffold_resource(root, resource, known=resources, overwrite=args.force)
        if args.views:
            written += generator.scaffold_views(root, resource, overwrite=args.force)
        generator.generate(root, resources)
        output["written"] = written
        lines = [f"wrote {path}: it was {before.get(path, 'missing')}" for path in written]
        if not written:
            lines.append("nothing to write: all files exist")
    print_result(output, lines, as_json=args.json)


def _named(name: str, resources: tuple[ResourceIR, ...]) -> ResourceIR:
    for resource in resources:
        if name in (resource.name, resource.folder):
            return resource
    known = ", ".join(resource.name for resource in resources) or "none yet"
    raise UsageError(
        f"no schema defines {name!r}; known: {known}",
        hint=f'write schema.define("{name}", ...) in resources/{folder_of(name)}/schema.py first',
    )
