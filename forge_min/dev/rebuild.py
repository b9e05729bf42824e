"""The steps after a change: gen/, migrations, the comparison with the schemas, the stylesheet.

They run no user code. Each returns its problems and raises nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import db
from ..errors import ForgeError
from ..generate import generate, scaffold_resource
from ..migrations import desired_sql
from ..migrations import diff as difference
from ..ops import Project, migrate
from ..parse import parse_project
from ..ship import parse_schemas, read_project, refresh_stylesheet
from .problems import Problem, problem_of, problems_of

Problems = list[Problem]
Log = Callable[[str], None]
# Drops of anything with rows. ALTER TABLE ... DROP does not need the word COLUMN.
_LOSES = re.compile(
    r"\bdrop\s+(?!((materialized\s+)?view|index|constraint|not\s+null|default|policy|trigger|function"
    r"|identity|expression|rule)\b|table\s+pg_temp\.)|\btruncate\b|\bdelete\s+from\b",
    re.IGNORECASE,
)


def _returns_errors(step: Callable[..., Problems]) -> Callable[..., Problems]:
    """Return exceptions of a step as problems. Its first argument is a project or its folder."""

    @functools.wraps(step)
    def run(project: Project | Path, *rest: object) -> Problems:
        try:
            return step(project, *rest)
        except Exception as err:
            root = project if isinstance(project, Path) else Path(str(project.root))
            return problems_of(err, root)

    return run


@_returns_errors
def write_gen(root: Path, log: Log) -> Problems:
    """Write gen/ and the scaffolded files of new resources, as `generate`."""
    parsed = parse_schemas(root)
    if parsed.diagnostics:
        return [problem_of(diagnostic) for diagnostic in parsed.diagnostics]
    desired_sql(parsed.resources)
    for path in scaffold_resource(root, *parsed.resources):
        log(f"wrote {path}: yours to edit")
    generate(root, parsed.resources)
    return []


@_returns_errors
def apply_migrations(project: Project, log: Log) -> Problems:
    """Apply pending migrations, as `migrate up`, up to the first one that would lose rows.

    That one needs a review, unless no migration of the project is applied yet.
    """
    files = migrate.files_of(project)
    with migrate.connect_owner(project) as conn:
        own = [f for f in files if f.source == "app"]
        pending = {row.name for row in db.migration_status(conn, own) if row.state == "pending"}
        new = [f for f in own if f.name in pending]
        waiting = [f for f in new if _LOSES.search(f.up)] if new != own else []
        ready = files[: files.index(waiting[0])] if waiting else files
        db.migrate(conn, ready, progress=lambda label: log(f"applied {label}"))
        migrate.grant(project, conn)
    hint = "review it, then run: forge-min migrate up"
    return [Problem(f"{f.label} would lose data, so it waits", hint, True) for f in waiting[:1]]


@_returns_errors
def compare_schemas(project: Project) -> Problems:
    """Report the changes that `migrate diff` would write. Writes nothing."""
    root = Path(str(project.root))
    files = db.read_migrations(root / "migrations", "app")
    resources = parse_project(root).resources
    base = db.FORGE_MIGRATIONS
    scratch = functools.partial(db.scratch_database, project.config.database.migrate_url)
    try:
        migration = difference(
            root, resources, files, base=base, scratch=scratch, allow_destructive=True
        )
    except ForgeError as err:
        lines: Sequence[str] = [f"error[{err.code}]: {err.message}", err.hint or ""]
    else:
        lines = [*migration.changes, *map(str, migration.risks)] if migration else []
    title = "the migrations do not match the schemas; run: forge-min migrate diff"
    return [Problem(title, "\n".join(filter(None, lines)), True)] if lines else []


@_returns_errors
def write_styles(root: Path) -> Problems:
    """Write static/css/app.css if the project uses Tailwind.

    Stylesheets that load something from another host are a problem.
    """
    refresh_stylesheet(read_project(root))
    return []
