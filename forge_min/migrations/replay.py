"""Creates both sides of a comparison in databases: the migration files, and the schemas.

Hand-written files are applied on both sides. The objects that they create are never compared or
dropped, even after a rename.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from itertools import filterfalse, groupby

from ..errors import BuildError
from ..sql_files import MigrationFile
from .desired import objects_sql
from .objects import DbObject, Executor, Key, read_catalog

# The state of a session before each file: settings of an earlier file have no effect.
FRESH = "rollback; reset all; reset role; set time zone 'UTC'"
# Statements about the whole server (roles, databases), which a trial must not run.
SERVER_WIDE = re.compile(
    r"(\s|--[^\n]*\n)*((create|alter|drop)\s+(role|user(?!\s+mapping)|group|database|tablespace)"
    r"|alter\s+system|reassign\s+owned|drop\s+owned)\b",
    re.IGNORECASE,
)
RIGHTS = re.compile(r"(\s|--[^\n]*\n)*(grant|revoke|alter\s+default)\b", re.IGNORECASE)
NO_SUCH_OBJECT = "42704"  # SQLSTATE
# The renames of statements.sql.
RENAME = re.compile(
    r"^alter (?P<what>\w+) (?P<of>NAME rename (?:column|constraint) |)(?P<old>NAME)"
    r"(?P<on> on NAME|) (?:rename )?to (?P<new>NAME)".replace("NAME", r'(?:"(?:[^"]|"")*"|\w+)'),
    re.MULTILINE,
)


def replay(conn: Executor, files: Sequence[MigrationFile]) -> set[str]:
    """Apply all files to an empty database.

    Returns the identities of objects that hand-written files created. Raises BuildError F332 with
    the name of a file that fails.
    """
    hand_written = set()
    for generated, group in groupby(files, lambda file: file.generated):
        before = set()
        if not generated:
            before = identities(conn)
        for file in group:
            _apply(conn, file)
        if not generated:
            hand_written |= identities(conn) - before
    return hand_written


def create_desired(
    conn: Executor,
    base: Sequence[MigrationFile],
    objects: Sequence[DbObject],
    files: Sequence[MigrationFile],
    renames: Sequence[str] = (),
) -> tuple[dict[Key, DbObject], set[Key]]:
    """Create the state of the schemas, then apply hand-written files, in an empty database.

    A hand-written file runs with the names of its time. Its statements may concern objects that no
    longer exist, so failures are ignored.

    base: the built-in migrations.
    objects: the objects of the schemas.
    files: all migrations of the project.
    renames: statements of the renames of the next migration.

    Returns all objects, those of the schemas first, in order and with their SQL; and the keys of
    those of the schemas. Raises BuildError F332 if the schemas fail.
    """
    for file in base:
        _apply(conn, file)
    with _fresh_session(conn, "the schemas"):
        conn.execute(objects_sql(objects) or "select")
    desired = read_catalog(conn)
    for number, file in enumerate(files):
        if file.generated:
            continue
        later = []
        for successor in files[number:]:
            if successor.generated:
                later += successor.statements
        with _earlier_names(conn, [*later, *renames]):
            _apply(conn, file, lenient=True)
    present = read_catalog(conn)
    # A table or column that a hand-written file dropped is still wanted: the code uses it.
    dropped = {obj.table for obj in desired.values() if obj.kind == "table"}
    dropped -= {obj.table for obj in present.values()}
    for key, obj in desired.items():
        if obj.kind == "column" or obj.table in dropped:
            present.setdefault(key, obj)
    with_sql = {}
    for obj in objects:
        if obj.key in present:
            with_sql[obj.key] = replace(present[obj.key], sql=obj.sql)
    return with_sql | present | with_sql, set(desired)


@contextmanager
def _earlier_names(conn: Executor, later: Sequence[str]) -> Iterator[None]:
    """Undo the renames of later statements during the block."""
    done = []
    for match in reversed(list(RENAME.finditer("\n".join(later)))):
        verb = "to" if match["of"] else "rename to"
        rename = f"alter {match['what']} {match['of']}{{}}{match['on']} {verb} {{}}"
        with suppress(Exception), conn.transaction():  # it may no longer exist
            conn.execute(rename.format(match["new"], match["old"]))
            done.append(rename.format(match["old"], match["new"]))
    yield
    for statement in reversed(done):
        with suppress(Exception), conn.transaction():
            conn.execute(statement)


def identities(conn: Executor) -> set[str]:
    """Return the identities of all objects of a database."""
    return {obj.identity for obj in read_catalog(conn).values()}


def _apply(conn: Executor, file: MigrationFile, *, lenient: bool = False) -> None:
    """Apply one file. lenient: ignore failing statements.

    A grant to a missing role is always ignored, because statements that create roles do not run.
    """
    transaction = conn.transaction if file.transactional else nullcontext
    savepoint = nullcontext if file.generated else transaction
    with _fresh_session(conn, file.name), transaction():
        for statement in filterfalse(SERVER_WIDE.match, file.statements):
            try:
                with savepoint():
                    conn.execute(statement)
            except Exception as err:
                if file.generated:
                    raise
                no_role = RIGHTS.match(statement) and getattr(err, "sqlstate", "") == NO_SUCH_OBJECT
                if not lenient and not no_role:
                    raise


@contextmanager
def _fresh_session(conn: Executor, name: str) -> Iterator[None]:
    """Reset the session before and after the block; an error names the file."""
    conn.execute(FRESH)
    try:
        yield
    except Exception as err:
        reason = str(err).splitlines()[0]
        hint = getattr(getattr(err, "diag", None), "message_hint", None)
        message = f"{name} fails in an empty database: {reason}"
        raise BuildError(message, code="F332", hint=hint) from err
    conn.execute(FRESH)
