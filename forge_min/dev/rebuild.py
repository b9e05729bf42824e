"""The steps after a change: gen/, migrations, the comparison with the schemas.

They run no user code. Each returns its problems, and `attempt` those of its exceptions too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .. import db
from ..errors import ForgeError
from ..generate import generate, scaffold_resource
from ..migrations import desired_sql
from ..migrations import diff as difference
from ..ops import Project, migrate
from ..parse import parse_project
from ..ship import parse_schemas
from .problems import Problem, problems_of

Problems = list[Problem]
Step = Callable[..., Problems | None]
Log = Callable[[str], None]
# Drops of anything with rows. ALTER TABLE ... DROP does not need the word COLUMN.
_LOSES = re.compile(
    r"\bdrop\s+(?!((materialized\s+)?view|index|constraint|not\s+null|default|policy|trigger|function"
    r"|identity|expression|rule)\b|table\s+pg_temp\.)|\btruncate\b|\bdelete\s+from\b",
    re.IGNORECASE,
)


def attempt(root: Path, step: Step, *arguments: object) -> Problems:
    """Return the problems of a step, or those of its exception. root: the project's folder."""
    try:
        return step(*arguments) or []
    except Exception as err:
        return problems_of(err, root)


def write_gen(root: Path, log: Log) -> Problems:
    """Write gen/ and the scaffolded files of new resources, as `generate`."""
    parsed = parse_schemas(root)
    if parsed.diagnostics:
        problems = []
        for diagnostic in parsed.diagnostics:
            title, _, text = diagnostic.format().partition("\n")
            problems.append(Problem(title, text))
        return problems
    desired_sql(parsed.resources)
    for path in scaffold_resource(root, *parsed.resources):
        log(f"wrote {path}: yours to edit")
    generate(root, parsed.resources)
    return []


def apply_migrations(project: Project, log: Log) -> Problems:
    """Apply pending migrations, as `migrate up`, up to the first one that would lose rows.

    That one needs a review, unless no migration of the project is applied yet.
    """
    files = migrate.files_of(project)
    with migrate.connect_owner(project) as conn:
        app_files = [file for file in files if file.source == "app"]
        status = db.migration_status(conn, app_files)
        pending = {row.name for row in status if row.state == "pending"}
        new_files = [file for file in app_files if file.name in pending]
        problems = []
        if new_files != app_files:
            for file in new_files:
                if _LOSES.search(file.up):
                    files = files[: files.index(file)]
                    hint = "review it, then run: forge-min migrate up"
                    title = f"{file.label} would lose data, so it waits"
                    problems.append(Problem(title, hint, notice=True))
                    break
        db.migrate(conn, files, progress=lambda label: log(f"applied {label}"))
        migrate.grant(project, conn)
    return problems


def compare_schemas(project: Project) -> Problems:
    """Report the changes that `migrate diff` would write. Writes nothing."""
    root = Path(str(project.root))
    files = db.read_migrations(root / "migrations", "app")
    resources = parse_project(root).resources
    lines: list[str | None] = []
    try:
        migration = difference(
            root,
            resources,
            files,
            base=db.FORGE_MIGRATIONS,
            scratch=partial(db.scratch_database, project.config.database.migrate_url),
            allow_destructive=True,
        )
        if migration:
            lines += migration.changes
            lines += map(str, migration.risks)
    except ForgeError as err:
        lines = [f"error[{err.code}]: {err.message}", err.hint]
    if not lines:
        return []
    title = "the migrations do not match the schemas; run: forge-min migrate diff"
    return [Problem(title, "\n".join(filter(None, lines)), notice=True)]
