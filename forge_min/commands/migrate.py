"""migrate diff: write the next migration from the schemas."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .. import db, migrations
from ..ops import migrate, print_result, with_database
from ..parse import ResourceIR
from .project import find_root, read_resources, use_code


def diff(args: argparse.Namespace) -> None:
    """Write the missing migration. Raises as `migrations.diff`."""
    root = find_root(args)
    resources = read_resources(root, as_json=args.json)
    migration = _missing(root, resources, args)
    output: dict[str, object] = {"path": None, "changes": (), "risks": []}
    lines = ["nothing to do: the migrations match the schemas"]
    if migration:
        path = migration.write()
        risks = [asdict(risk) for risk in migration.risks]
        output = {"path": str(path), "changes": migration.changes, "risks": risks}
        migrate.warn_if_breaking(db.MigrationFile("app", path.name, migration.sql))
        lines = [*migration.changes]
        lines += [f"{risk.kind}: {risk}" for risk in migration.risks]
        next_step = "review it, then run: forge-min migrate up"
        if not risks:
            next_step += " (`dev` applies it)"
        lines.append(f"wrote {path}: {next_step}")
    print_result(output, lines, as_json=args.json)


def _missing(
    root: Path, resources: Sequence[ResourceIR], args: argparse.Namespace
) -> migrations.Migration | None:
    """Return the missing migration. Connects only if there are earlier files to compare."""
    files = db.read_migrations(root / "migrations", "app")
    if not files:
        return migrations.diff(root, resources, files, name=args.name)
    use_code(root)
    ask = None
    if sys.stdin.isatty() and not args.json:
        ask = _ask
    with with_database(migrated=False) as project:
        return migrations.diff(
            root,
            resources,
            files,
            base=db.FORGE_MIGRATIONS,
            scratch=lambda: db.scratch_database(project.config.database.migrate_url),
            name=args.name,
            decisions=migrations.Decisions(args.rename, args.drop, ask),
            allow_destructive=args.allow_destructive,
        )


def _ask(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
