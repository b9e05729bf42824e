"""migrate: the next migration file from the schemas; up, down and status as the artifact does."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import db, migrations
from ..ops import print_result, with_database
from ..parse import ResourceIR
from .project import find_root, read_resources, use_code


def diff(args: argparse.Namespace) -> None:
    """Write what is missing. Raises as `migrations.diff`."""
    root = find_root(args)
    resources = read_resources(root, as_json=args.json)
    migration = _missing(root, resources, args)
    path = migration.write() if migration else None
    changes, risks = (migration.changes, migration.risks) if migration else ((), ())
    found = [dataclasses.asdict(risk) for risk in risks]
    lines = ["nothing to do: the migrations give what the schemas ask for"]
    if migration:
        lines = [*changes, *(f"{risk.kind}: {risk}" for risk in risks)]
        lines.append(f"wrote {path}: review it, then migrate up")
    answer = {"path": path and str(path), "changes": changes, "risks": found}
    print_result(answer, lines, as_json=args.json)


def _missing(
    root: Path, resources: Sequence[ResourceIR], args: argparse.Namespace
) -> migrations.Migration | None:
    """Connects only where earlier files have to be compared with."""
    files = db.read_migrations(root / "migrations", "app")
    if not files:
        return migrations.diff(root, resources, files, name=args.name)
    use_code(root)
    answered = sys.stdin.isatty() and not args.json
    with with_database(migrated=False) as project:
        c = project.config.database
        return migrations.diff(
            root,
            resources,
            files,
            base=db.FORGE_MIGRATIONS,
            scratch=lambda: db.scratch_database(c.migrate_url),
            name=args.name,
            decisions=migrations.Decisions(args.rename, args.drop, _ask if answered else None),
            allow_destructive=args.allow_destructive,
        )


def _ask(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
