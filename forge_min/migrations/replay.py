"""Both sides of a comparison, built for real: what the files give, and what the schemas ask for.

Hand-written files are part of both. What they made is theirs: it is never compared or dropped,
whatever it is called by now.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from itertools import groupby
from typing import Protocol

from ..errors import BuildError
from .desired import parts_sql
from .parts import Executor, Key, Part, read_catalog

# As the runner begins a file: what another one set for its session ended with it.
FRESH = "rollback; reset all; reset role; set time zone 'UTC'"
# What belongs to the whole server, where a trial must leave nothing: roles and databases.
OF_THE_SERVER = re.compile(
    r"(\s|--[^\n]*\n)*((create|alter|drop)\s+(role|user(?!\s+mapping)|group|database|tablespace)"
    r"|alter\s+system|reassign\s+owned|drop\s+owned)\b",
    re.IGNORECASE,
)
RIGHTS = re.compile(r"(\s|--[^\n]*\n)*(grant|revoke|alter\s+default)\b", re.IGNORECASE)
NO_SUCH_OBJECT = "42704"  # SQLSTATE
# As statements.sql renames: what, and of what; its name before and after.
RENAME = re.compile(
    r"^alter (?P<what>\w+) (?P<of>NAME rename (?:column|constraint) |)(?P<old>NAME)"
    r"(?P<on> on NAME|) (?:rename )?to (?P<new>NAME)".replace("NAME", r'(?:"(?:[^"]|"")*"|\w+)'),
    re.MULTILINE,
)


class File(Protocol):
    """A migration file that exists: `db.MigrationFile` is one."""

    @property
    def name(self) -> str:
        """As in the folder: "0001_initial.sql"."""

    @property
    def statements(self) -> Sequence[str]:
        """Of the part that is applied."""

    @property
    def transactional(self) -> bool:
        """Whether they are applied together."""

    @property
    def generated(self) -> bool:
        """Whether it is one of ours."""


def replay(conn: Executor, files: Sequence[File]) -> set[str]:
    """Apply all files to an empty database; the identities of what hand-written ones made.

    Raises BuildError F332 naming the file that fails.
    """
    theirs: set[str] = set()
    for generated, group in groupby(files, lambda file: file.generated):
        before = set() if generated else identities(conn)
        for file in group:
            _apply(conn, file)
        if not generated:
            theirs |= identities(conn) - before
    return theirs


def build(
    conn: Executor,
    base: Sequence[File],
    parts: Sequence[Part],
    files: Sequence[File],
    renames: Sequence[str] = (),
) -> tuple[dict[Key, Part], set[Key]]:
    """Make what the schemas ask for in an empty database: all that is there then, with the SQL of
    the parts and in their order; and what was there before the hand-written files.

    Each of those meets the names of its time; renames: the statements of those that come now. A
    statement of theirs may be about something that is no more: where it fails here, it says nothing
    about today's schemas. Raises BuildError F332 when the schemas make no database.
    """
    for file in base:
        _apply(conn, file)
    with _fresh(conn, "the schemas"):
        conn.execute(parts_sql(parts) or "select")
    asked = read_catalog(conn)
    for number, file in enumerate(files):
        if not file.generated:
            later = [s for f in files[number:] if f.generated for s in f.statements]
            with _named_as_then(conn, [*later, *renames]):
                _apply(conn, file, lenient=True)
    there = read_catalog(conn)
    # A table or column that they took away is missing all the same: the code reads and writes it.
    dropped = {table for kind, table, _ in asked if kind == "table"} - {key[1] for key in there}
    for key, part in asked.items():
        if key[0] == "column" or part.table in dropped:
            there.setdefault(key, part)
    written = {p.key: replace(there[p.key], sql=p.sql) for p in parts if p.key in there}
    return {**written, **there, **written}, set(asked)


@contextmanager
def _named_as_then(conn: Executor, later: Sequence[str]) -> Iterator[None]:
    """Take back, for the block, what is renamed by statements that come later."""
    done: list[str] = []
    for found in reversed(list(RENAME.finditer("\n".join(later)))):
        verb = "to" if found["of"] else "rename to"
        frame = f"alter {found['what']} {found['of']}{{}}{found['on']} {verb} {{}}"
        with suppress(Exception), conn.transaction():  # it may be gone by now
            conn.execute(frame.format(found["new"], found["old"]))
            done.append(frame.format(found["old"], found["new"]))
    yield
    for statement in reversed(done):
        with suppress(Exception), conn.transaction():
            conn.execute(statement)


def identities(conn: Executor) -> set[str]:
    """Of all parts that a database holds."""
    return {part.identity for part in read_catalog(conn).values()}


def _apply(conn: Executor, file: File, *, lenient: bool = False) -> None:
    """lenient: pass over what fails. A right of a role that is not there is passed over always: it
    may be made by what is left out here.
    """
    together = conn.transaction if file.transactional else nullcontext
    with _fresh(conn, file.name), together():
        for statement in file.statements:
            if OF_THE_SERVER.match(statement):
                continue
            try:
                with nullcontext() if file.generated else together():
                    conn.execute(statement)
            except Exception as err:
                no_role = RIGHTS.match(statement) and getattr(err, "sqlstate", "") == NO_SUCH_OBJECT
                if file.generated or not (lenient or no_role):
                    raise


@contextmanager
def _fresh(conn: Executor, name: str) -> Iterator[None]:
    """A session as it begins, before and after; failures are told with the name."""
    conn.execute(FRESH)
    try:
        yield
    except Exception as err:
        said = str(err).splitlines()[0]
        raise BuildError(f"{name} fails in an empty database: {said}", code="F332") from err
    conn.execute(FRESH)
