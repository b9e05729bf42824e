"""migrate: the next migration file from the schemas; up, down and status as the artifact does."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .operate import delegate
from .project import find_root, read_resources, use_code
from .tree import add_command, add_delegate

if TYPE_CHECKING:
    from ..migrations import Migration
    from ..parse import ResourceIR
    from .tree import Commands


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "migrate",
        lambda args: delegate(args, "migrate"),
        help="bring files and database up to date with the schemas",
        example="migrate diff && forge-min migrate up",
    )
    steps = parser.add_subparsers(metavar="diff|up|down|status", required=True)
    diff = add_command(
        steps,
        "diff",
        _diff,
        help="write the migration that the schemas ask for; review it before you apply it",
        example="migrate diff add_gate",
    )
    diff.add_argument("name", metavar="NAME", nargs="?", default="", help="what it does")
    for flag, what, help in (
        ("--rename", "TABLE.OLD=NEW", "a column's new name, or a table's: OLD=NEW; repeatable"),
        ("--drop", "TABLE.COLUMN", "it was not renamed, it is gone; also TABLE; repeatable"),
    ):
        diff.add_argument(flag, metavar=what, action="append", default=[], help=help)
    diff.add_argument(
        "--allow-destructive",
        action="store_true",
        help="accept steps that lose data or lock a table while its rows are written anew",
    )
    for name, help in (
        ("up", "apply what is missing, as the owner"),
        ("down", "undo the last file"),
        ("status", "what is applied"),
    ):
        add_delegate(steps, name, _delegate(name), help=help)


def _delegate(name: str) -> Callable[[argparse.Namespace], int]:
    return lambda args: delegate(args, "migrate", name)


def _diff(args: argparse.Namespace) -> int:
    root = find_root(args)
    resources = read_resources(root)
    if resources is None:
        return 1
    migration = _missing(root, resources, args)
    path = migration.write() if migration else None
    changes, risks = (migration.changes, migration.risks) if migration else ((), ())
    if args.json:
        found = [dataclasses.asdict(risk) for risk in risks]
        print(json.dumps({"path": path and str(path), "changes": changes, "risks": found}))
    elif migration is None:
        print("nothing to do: the migrations give what the schemas ask for")
    else:
        lines = [*changes, *(f"{risk.kind}: {risk}" for risk in risks)]
        print("\n".join([*lines, f"wrote {path}: review it, then migrate up"]))
    return 0


def _missing(
    root: Path, resources: Sequence[ResourceIR], args: argparse.Namespace
) -> Migration | None:
    """Connects only where earlier generated files have to be compared with."""
    from .. import db
    from ..migrations import Decisions, diff

    files = db.read_migrations(root / "migrations", "app")
    if not any(file.generated for file in files):
        return diff(root, resources, files, name=args.name)
    from ..ops.development import with_database
    from ..ops.project import load_project

    use_code(root)
    answered = sys.stdin.isatty() and not args.json
    with with_database(load_project(), migrated=False) as project:
        c = project.config.database
        return diff(
            root,
            resources,
            files,
            base=db.FORGE_MIGRATIONS,
            scratch=lambda: db.scratch_database(c.migrate_url),
            name=args.name,
            decisions=Decisions(args.rename, args.drop, _ask if answered else None),
            allow_destructive=args.allow_destructive,
        )


def _ask(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
