"""The migration runner: applies files, takes them back, says where a database stands.

One runner at a time per database, by an advisory lock. A file is one transaction, so a crash
leaves it applied or not. In a `no transaction` file each statement is one, and the next run goes
on after the last; what PostgreSQL runs only alone (CREATE INDEX CONCURRENTLY) is noted afterwards.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Literal, NamedTuple

import psycopg

from ..errors import BuildError, Unavailable
from ..lazy import lazy_pattern
from .migration_files import MigrationFile, digest, statements
from .statements import load_sql

LOCK_KEY = 0x666F7267655F6D69  # "forge_mi"
LOCK_POLL = 0.1  # seconds
LOCK_WAIT = 300.0  # seconds to wait for another runner
TABLE_WAIT = 1.0  # seconds that a statement may wait for a table
TABLE_TRIES = 5  # times that it does; in between, whoever waits for us gets through
SQL = load_sql("forge_min.db", "migrate.sql")
# What PostgreSQL refuses inside a transaction: CONCURRENTLY, VACUUM; COMMIT inside DO or CALL.
RUNS_ALONE = (psycopg.errors.ActiveSqlTransaction, psycopg.errors.InvalidTransactionTermination)
# What a down part meets where the up part was not done: nothing to drop, or still there.
ALREADY_UNDONE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedObject,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateColumn,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateFunction,
)
# Done again before the statement after it is, of which it removes what an interrupted run left.
CLEAN_UP = lazy_pattern(r"(--[^\n]*\n|\s)*drop index concurrently if exists\b", re.IGNORECASE)

Progress = Callable[[str], None]
Connection = psycopg.Connection[Any]
Key = tuple[str, str]  # source and name of a file
Note = tuple[str, Sequence[object]]  # a statement of migrate.sql and its values
Ignored = tuple[type[Exception], ...]
NOTHING: Note = ("select", [])
State = Literal["applied", "pending", "changed", "half applied", "missing"]


class MigrationStatus(NamedTuple):
    """Where one file stands. "missing": applied, but its file is not here (a newer release's?)."""

    source: str
    name: str
    state: State


class _Applied(NamedTuple):
    checksum: str
    steps: int
    whole: bool


def migrate(
    conn: Connection, files: Sequence[MigrationFile], *, progress: Progress | None = None
) -> list[str]:
    """Apply every file that is not applied yet, in the order given; the labels of those applied.

    conn: in autocommit mode, as owner, not through a transaction pooler; its settings are reset,
    before each file too, and files run in UTC. A statement waits TABLE_WAIT for a table, so that a
    migration never queues the whole site behind itself; what PostgreSQL runs only alone waits as
    long as it must, since it keeps nobody waiting. Raises BuildError F320 before anything is done
    when an applied file was changed, F322 when a file fails (that file is rolled back, earlier ones
    stay), Unavailable F326 when a table or another runner holds us up.
    """
    done = []
    with _locked(conn) as applied:
        for file in files:
            _check_unchanged(file, applied.get((file.source, file.name)))
        for file in files:
            row = applied.get((file.source, file.name))
            if row is None or not row.whole:
                _apply(conn, file, row.steps if row else 0)
                done.append(file.label)
                if progress:
                    progress(file.label)
    return done


def migrate_down(conn: Connection, files: Sequence[MigrationFile], steps: int = 1) -> list[str]:
    """Undo the last `steps` applied files of those given, newest first; their labels. Of a file
    that is half applied, what was done is undone.

    Raises BuildError F323, before anything is done, when one of them has no down part, or a newer
    file was applied that is not given; else as migrate.
    """
    with _locked(conn) as applied:
        chosen = [f for f in reversed(files) if (f.source, f.name) in applied][: max(steps, 0)]
        for file in chosen:
            known = {f.name for f in files if f.source == file.source}
            newer = [n for s, n in applied if s == file.source and n > file.name and n not in known]
            if newer:
                raise BuildError(
                    f"{', '.join(newer)} came after {file.label}, and is not here",
                    code="F323",
                    hint="undo it first, by the release that has it",
                )
            _check_unchanged(file, applied[file.source, file.name])
            if not file.down:
                raise BuildError(
                    f"{file.label} has no `-- forge: down` part, so it cannot be undone",
                    code="F323",
                    hint="write a new migration that does the opposite",
                )
        for file in chosen:
            _undo(conn, file, applied[file.source, file.name].whole)
    return [file.label for file in chosen]


def migration_status(conn: Connection, files: Sequence[MigrationFile]) -> list[MigrationStatus]:
    """Where each file stands, and applied ones without a file. Only reads; the app role may call
    it.
    """
    applied = _applied(conn) if _scalar(conn, SQL["exists"]) else {}
    rows = []
    for file in files:
        row = applied.pop((file.source, file.name), None)
        rows.append(MigrationStatus(file.source, file.name, _state(file, row)))
    sources = {file.source for file in files}
    gone = [MigrationStatus(*key, "missing") for key in applied if key[0] in sources]
    return rows + gone


@contextmanager
def migration_lock(conn: Connection) -> Iterator[None]:
    """Be the only one who changes this database's schema. Raises Unavailable F326 after LOCK_WAIT.

    LOCK: a session's advisory lock, so it ends with the connection. It is polled for: a session
    that blocks in pg_advisory_lock holds a snapshot, and CREATE INDEX CONCURRENTLY waits for all
    of those.
    """
    deadline = time.monotonic() + LOCK_WAIT
    while not _scalar(conn, "select pg_try_advisory_lock(%s)", LOCK_KEY):
        if time.monotonic() > deadline:
            raise Unavailable("another migration has been running for too long", code="F326")
        time.sleep(LOCK_POLL)  # see above: waiting in PostgreSQL would hold a snapshot
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("select pg_advisory_unlock(%s)", [LOCK_KEY])


def create_migration_table(conn: Connection) -> None:
    """Create forge_migration where it is missing. LOCK: the caller holds migration_lock."""
    if not _scalar(conn, SQL["exists"]):
        conn.execute(SQL["create"])


@contextmanager
def _locked(conn: Connection) -> Iterator[dict[Key, _Applied]]:
    """Alone in this database; what is applied."""
    with migration_lock(conn):
        create_migration_table(conn)
        try:
            yield _applied(conn)
        finally:
            if not conn.closed:
                conn.execute(SQL["reset"], prepare=False)


def _apply(conn: Connection, file: MigrationFile, done: int) -> None:
    conn.execute(SQL["reset"], prepare=False)
    todo = [file.up] if file.transactional else file.statements
    while done and CLEAN_UP.match(todo[done - 1]):
        done -= 1
    for number, text in enumerate(todo[done:] or [""], done + 1):
        last = number >= len(todo)
        checksum = file.checksum if last else _partial_checksum(todo, number)
        note = SQL["note"], [file.source, file.name, checksum, number, last]
        with _errors_named(file, text, 0 if file.transactional else number):
            _step(conn, file, text, note)


def _undo(conn: Connection, file: MigrationFile, whole: bool) -> None:
    """All in one transaction where PostgreSQL allows it, whatever the file's head says."""
    conn.execute(SQL["reset"], prepare=False)
    ignored, todo = ((), [file.down]) if whole else (ALREADY_UNDONE, statements(file.down))
    forget = SQL["forget"], [file.source, file.name]
    with _errors_named(file, file.down if whole else ""):
        try:
            _run_in_transaction(conn, file, todo, forget, ignored)
        except RUNS_ALONE:
            if file.transactional:
                raise
            # Nobody who comes after an interruption may take the file for applied.
            conn.execute(SQL["note"], [file.source, file.name, _partial_checksum([], 0), 0, False])
            for text in statements(file.down):
                with suppress(*ignored):
                    _step(conn, file, text, NOTHING)
            conn.execute(*forget)


def _step(conn: Connection, file: MigrationFile, text: str, note: Note) -> None:
    try:
        _run_in_transaction(conn, file, [text], note)
    except RUNS_ALONE:
        if file.transactional:
            raise
        conn.execute(SQL["limit"], ["0"])
        conn.execute(text, prepare=False)
        conn.execute(*note)


def _run_in_transaction(
    conn: Connection, file: MigrationFile, todo: list[str], note: Note, ignored: Ignored = ()
) -> None:
    """Run it and note it, in one transaction; anew where a table stayed in use, since the locks
    that were had by then hold others up. passed: errors of a statement that do not matter.
    """
    conn.execute(SQL["limit"], [f"{TABLE_WAIT}s"])
    for left in reversed(range(TABLE_TRIES)):
        try:
            with conn.transaction():
                _run_all(conn, file, todo, ignored)
                conn.execute(*note)
            return
        except psycopg.errors.LockNotAvailable:
            if not left:
                raise
            time.sleep(TABLE_WAIT / 4)  # others may take the table first


def _run_all(conn: Connection, file: MigrationFile, todo: list[str], ignored: Ignored) -> None:
    before = _scalar(conn, "select pg_current_xact_id()::text")
    for text in todo:
        with suppress(*ignored), conn.transaction() if ignored else nullcontext():
            conn.execute(text, prepare=False)
    if before != _scalar(conn, "select pg_current_xact_id()::text"):
        raise BuildError(
            f"{file.label} commits or rolls back by itself, so part of it may be applied",
            code="F324",
            hint="remove COMMIT and ROLLBACK, or start the file with -- forge: no transaction",
        )


@contextmanager
def _errors_named(file: MigrationFile, text: str, statement: int = 0) -> Iterator[None]:
    """statement: its number; 0 where the line is said instead, of `text` as a whole."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as err:
        raise Unavailable(
            f"{file.label}: a table stayed in use, so the migration gave way",
            code="F326",
            hint="try again; see pg_stat_activity for a transaction that stays open",
        ) from err
    except psycopg.Error as err:
        place = f", statement {statement}" if statement else _line(file, text, err)
        said = [err.diag.message_primary or "the connection was lost", err.diag.message_detail]
        raise BuildError(
            f"{file.label}{place}: {'; '.join(filter(None, said))}",
            code="F322",
            hint=err.diag.message_hint,
        ) from err


def _line(file: MigrationFile, text: str, err: psycopg.Error) -> str:
    position = err.diag.statement_position
    if not (position and text):
        return ""
    place = file.sql.rindex(text) if text == file.down else 0
    return f":{file.sql.count(chr(10), 0, place + int(position) - 1) + 1}"


def _check_unchanged(file: MigrationFile, row: _Applied | None) -> None:
    if row is not None and _state(file, row) == "changed":
        raise BuildError(
            f"{file.label} was changed after it was applied",
            code="F320",
            hint="restore it, and put the change into a new migration",
        )


def _state(file: MigrationFile, row: _Applied | None) -> State:
    if row is None:
        return "pending"
    if not row.whole:
        unchanged = row.checksum == _partial_checksum(file.statements, row.steps)
        return "half applied" if unchanged else "changed"
    return "applied" if row.checksum == file.checksum else "changed"


def _partial_checksum(todo: list[str], steps: int) -> str:
    """The checksum of the statements done so far: what is still to come may be corrected."""
    return digest("\n;\n".join(todo[:steps]))


def _applied(conn: Connection) -> dict[Key, _Applied]:
    rows = conn.execute(SQL["applied"]).fetchall()
    return {(source, name): _Applied(*rest) for source, name, *rest in rows}


def _scalar(conn: Connection, query: str, *params: object) -> Any:
    row = conn.execute(query, params or None).fetchone()
    return row[0] if row else None
