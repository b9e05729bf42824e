"""What is made of a project's files: gen/, the tables, the stylesheet. Runs no user code. Each
function gives what is wrong, or to be done by a person; it raises nothing.
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
from .problems import Problem, diagnosed, problems_of

Made = list[Problem]
Say = Callable[[str], None]
# A drop of anything that holds rows; ALTER TABLE needs no COLUMN.
_LOSES = re.compile(
    r"\bdrop\s+(?!(materialized\s+)?view\b|index\b|constraint\b|not\s+null\b|default\b|policy\b"
    r"|trigger\b|function\b|identity\b|expression\b|rule\b)|\btruncate\b|\bdelete\s+from\b",
    re.IGNORECASE,
)


def _told(make: Callable[..., Made]) -> Callable[..., Made]:
    """What it raises is a problem too. Its first argument is a project, or a project's folder."""

    @functools.wraps(make)
    def told(project: Project | Path, *rest: object) -> Made:
        try:
            return make(project, *rest)
        except Exception as err:
            root = project if isinstance(project, Path) else Path(str(project.root))
            return problems_of(err, root)

    return told


@_told
def make_gen(root: Path, say: Say) -> Made:
    """gen/, and files of new resources that are the user's, as `generate` does."""
    parsed = parse_schemas(root)
    if parsed.diagnostics:
        return [diagnosed(found) for found in parsed.diagnostics]
    desired_sql(parsed.resources)
    for path in scaffold_resource(root, *parsed.resources):
        say(f"wrote {path}: it is yours from now on")
    generate(root, parsed.resources)
    return []


@_told
def apply_migrations(project: Project, say: Say) -> Made:
    """Apply what is pending, as `migrate up` does, up to a file that would lose rows: a person has
    to apply that one. In a database that has none of the project's tables yet there are no rows.
    """
    files = migrate.files_of(project)
    with migrate.connect_owner(project) as conn:
        states = db.migration_status(conn, files)
        pending = {(row.source, row.name) for row in states if row.state == "pending"}
        fresh = all((file.source, file.name) in pending for file in files if file.source == "app")
        new = [f for f in files if f.source == "app" and (f.source, f.name) in pending]
        waiting = [] if fresh else [f for f in new if _LOSES.search(f.up)]
        ready = files[: files.index(waiting[0])] if waiting else files
        db.migrate(conn, ready, progress=lambda label: say(f"applied {label}"))
        migrate.grant(project, conn)
    hint = "review it, then run: forge-min migrate up"
    return [Problem(f"{f.label} would lose data, so it waits", hint, True) for f in waiting[:1]]


@_told
def compare_schemas(project: Project) -> Made:
    """What `migrate diff` would write; nothing is written."""
    root = Path(str(project.root))
    files = db.read_migrations(root / "migrations", "app")
    resources = parse_project(root).resources
    url = project.config.database.migrate_url
    try:
        migration = difference(
            root,
            resources,
            files,
            base=db.FORGE_MIGRATIONS,
            scratch=lambda: db.scratch_database(url),
            allow_destructive=True,
        )
    except ForgeError as err:
        said: Sequence[str] = [f"error[{err.code}]: {err.message}", err.hint or ""]
    else:
        said = [*migration.changes, *map(str, migration.risks)] if migration else []
    title = "the tables are not what the schemas ask for; run: forge-min migrate diff"
    return [Problem(title, "\n".join(filter(None, said)), True)] if said else []


@_told
def make_styles(root: Path) -> Made:
    """static/css/app.css where Tailwind is asked for; and stylesheets must need no other host."""
    project = read_project(root)
    refresh_stylesheet(project)
    return []
