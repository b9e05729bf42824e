"""Both sides of a comparison, built for real: what the files give, and what the schemas ask for.

Hand-written files are part of both. What they made is theirs: it is never compared or dropped,
whatever it is called by now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from itertools import groupby
from typing import Protocol

from ..errors import BuildError
from .catalog import Executor, read_catalog
from .desired import parts_sql
from .parts import Key, Part

# As the runner begins a file: what another one set for its session ended with it.
FRESH = "rollback; reset all; reset role; set time zone 'UTC'"


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
    conn: Executor, base: Sequence[File], parts: Sequence[Part], files: Sequence[File]
) -> tuple[dict[Key, Part], set[Key]]:
    """Make what the schemas ask for in an empty database: all that is there then, with the SQL of
    the parts and in their order; and what was there before the hand-written files.

    A statement of theirs may be about something that is no more: where it fails here, it says
    nothing about today's schemas. Raises BuildError F332 when the schemas make no database.
    """
    for file in base:
        _apply(conn, file)
    with _fresh(conn, "the schemas"):
        conn.execute(parts_sql(parts) or "select")
    ours = set(read_catalog(conn))
    for file in files:
        if not file.generated:
            _apply(conn, file, suppress(Exception))
    there = read_catalog(conn)
    written = {p.key: replace(there[p.key], sql=p.sql) for p in parts if p.key in there}
    return {**written, **there, **written}, ours


def identities(conn: Executor) -> set[str]:
    """Of all parts that a database holds."""
    return {part.identity for part in read_catalog(conn).values()}


def _apply(conn: Executor, file: File, each: suppress | None = None) -> None:
    """each: around each statement, to pass over what fails."""
    together = conn.transaction if file.transactional else nullcontext
    with _fresh(conn, file.name), together():
        for statement in file.statements:
            with each or nullcontext(), together() if each else nullcontext():
                conn.execute(statement)


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
