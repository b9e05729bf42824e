"""migrate up, down and status on the site's own database, as its owner."""

from __future__ import annotations

import sys
from argparse import Namespace

from psycopg.conninfo import conninfo_to_dict

from .. import db
from ..errors import ForgeError
from .console import print_result, warn
from .project import Project


def files_of(project: Project) -> list[db.MigrationFile]:
    """Return the migration files of forge_min, then those of the project."""
    return [*db.FORGE_MIGRATIONS, *db.read_migrations(project.root / "migrations", "app")]


def connect_owner(project: Project) -> db.Connection:
    """Connect to database.migrate_url, or else database.url. Raises Unavailable."""
    c = project.config.database
    return db.connect(c.migrate_url, application_name=f"{project.config.project.name} migrate")


def migrate_up(project: Project, args: Namespace) -> int:
    """Apply the pending files, then grant the app role its privileges. Prints one line per file."""
    with connect_owner(project) as conn:
        _read_status(project, conn)
        progress = None if args.json else print
        applied = db.migrate(conn, files_of(project), progress=progress)
        missing = grant(project, conn)
    # Each file was printed when it was applied.
    lines = [] if applied else ["nothing to apply"]
    print_result({"applied": applied, "role_sql": missing}, lines, as_json=args.json)
    if not missing:
        return 0
    if not args.json:
        reason = "-- this role lacks a privilege; run this as a superuser:"
        print(f"{reason}\n{missing}-- then run again: migrate up", file=sys.stderr)
    return 1


def warn_if_breaking(file: db.MigrationFile) -> None:
    """Warn of the statements that the running release may not survive."""
    if file.breaking:
        message = f"{file.label} may break the running release: {'; '.join(file.breaking)}"
        hint = "split it over two releases, see develop/migrations in the manual"
        warn(ForgeError(message, code="F427", hint=hint))


def _read_status(project: Project, conn: db.Connection) -> list[db.MigrationStatus]:
    """Return the state of each file. Warns of pending ones, except in an empty database."""
    files = files_of(project)
    rows = db.migration_status(conn, files)
    for file, row in zip(files, rows):
        if row.state == "pending" and row.source == "app" and rows[0].state == "applied":
            warn_if_breaking(file)
    return rows


def migrate_down(project: Project, args: Namespace) -> int:
    """Undo the last `args.steps` files of the project, never those of forge_min."""
    with connect_owner(project) as conn:
        files = db.read_migrations(project.root / "migrations", "app")
        undone = db.migrate_down(conn, files, args.steps)
    print_result({"undone": undone}, undone or ["nothing to undo"], as_json=args.json)
    return 0


def migration_status(project: Project, args: Namespace) -> int:
    """Print one line per file: applied, pending, changed or missing.

    Returns 1 unless all are applied.
    """
    with connect_owner(project) as conn:
        rows = _read_status(project, conn)
    states = [{"file": f"{row.source}/{row.name}", "state": row.state} for row in rows]
    lines = (f"{row['state']:12}  {row['file']}" for row in states)
    print_result(states, lines, as_json=args.json)
    if all(row.state == "applied" for row in rows):
        return 0
    return 1


def grant(project: Project, conn: db.Connection) -> str | None:
    """Create database.app_role and grant its privileges.

    Returns None, or the SQL that a superuser has to run.
    """
    c = project.config.database
    parts = conninfo_to_dict(c.url)
    password = None
    if parts.get("user") == c.app_role and parts.get("password"):
        password = str(parts["password"])
    settings = {
        "statement_timeout": f"{int(c.statement_timeout * 1000)}ms",
        "lock_timeout": f"{int(c.lock_timeout * 1000)}ms",
    }
    return db.ensure_app_role(conn, c.app_role, password=password, settings=settings)
