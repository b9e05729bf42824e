"""Applies and undoes migration files, and reports their state.

An advisory lock allows one runner at a time per database. A file is one transaction, so after a
crash it is either applied or not. In a `no transaction` file each statement is one transaction, and
the next run continues after the last; a statement that PostgreSQL does not allow in a transaction
(CREATE INDEX CONCURRENTLY) is recorded after it has run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, NamedTuple

import psycopg
from psycopg import errors

from ..errors import BuildError, Unavailable
from ..lazy import lazy_pattern
from ..sql_files import MigrationFile, digest, load_sql, statements
from .connection import AnyConnection

LOCK_KEY = 0x666F7267655F6D69  # "forge_mi"
LOCK_POLL = 0.1  # seconds
LOCK_WAIT = 300.0  # seconds to wait for another runner
TABLE_WAIT = 1.0  # seconds that a statement may wait for a table lock
TABLE_TRIES = 5  # attempts; between them, transactions that wait for the migration can run
SQL = load_sql("forge_min.db", "migrate.sql")
# Errors of statements not allowed in a transaction: CONCURRENTLY, VACUUM; COMMIT in DO or CALL.
RUNS_ALONE = (errors.ActiveSqlTransaction, errors.InvalidTransactionTermination)
# Errors of a down part if its up part was not run: an object is missing, or still there.
ALREADY_UNDONE = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedObject,
    errors.UndefinedFunction,
    errors.DuplicateTable,
    errors.DuplicateColumn,
    errors.DuplicateObject,
    errors.DuplicateFunction,
)
NOT_OWNER = "database.migrate_url must name the role that owns the tables"
# Statements that are not tried in a transaction first, because PostgreSQL would log an error.
NEVER_IN_TRANSACTION = lazy_pattern(
    r"(?i)(--.*\n|\s)*((create(\s+unique)?|drop)\s+index\s+concurrently|vacuum|alter\s+system)\b"
)
# Repeated before the next statement: it removes the invalid index of an interrupted run.
CLEAN_UP = lazy_pattern(r"(?i)(--.*\n|\s)*drop index concurrently if exists\b")

Progress = Callable[[str], None]
Key = tuple[str, str]  # source and name of a file
Note = tuple[str, Sequence[object]]  # a statement of migrate.sql and its values
Ignored = tuple[type[Exception], ...]
NOTHING: Note = ("select", [])
State = Literal["applied", "pending", "changed", "half applied", "missing"]


class MigrationStatus(NamedTuple):
    """The state of one migration file.

    state: "missing": applied, perhaps by a newer release, but its file is not here.
    """

    source: str
    name: str
    state: State


class _Applied(NamedTuple):
    checksum: str
    steps: int
    whole: bool


def migrate(
    conn: AnyConnection, files: Sequence[MigrationFile], *, progress: Progress | None = None
) -> list[str]:
    """Apply every pending file in the given order; return the labels of the files applied.

    A statement waits at most TABLE_WAIT for a table lock, so that the site's statements do not
    queue behind the migration. Statements not allowed in a transaction wait without a limit,
    because they block no others.

    conn: in autocommit mode, as owner, not through a transaction pooler. Its settings are reset
        before each file and at the end; files run in UTC.
    files: of all sources, in the order in which they apply.
    progress: called with the label of each file after it was applied.

    Raises BuildError F320 before any change if an applied file was changed; F322 if a file fails
    (it is rolled back, earlier files stay applied); F324 if it ends the transaction by itself.
    Raises Unavailable F326 if a table stays locked or another runner does not end.
    """
    labels = []
    with _locked(conn) as applied:
        for file in files:
            _check_unchanged(file, applied.get((file.source, file.name)))
        for file in files:
            row = applied.get((file.source, file.name))
            if row is None:
                _apply(conn, file, 0)
            elif not row.whole:
                _apply(conn, file, row.steps)
            else:
                continue
            labels.append(file.label)
            if progress:
                progress(file.label)
    return labels


def migrate_down(conn: AnyConnection, files: Sequence[MigrationFile], steps: int = 1) -> list[str]:
    """Undo the last `steps` applied files, newest first; return their labels.

    Of a half-applied file, the statements that ran are undone. Parameters as in `migrate`. Raises
    BuildError F323 before any change if a file has no down part, or if a newer file was applied
    that is not in `files`; and the errors of `migrate`.
    """
    with _locked(conn) as applied:
        newest_first = [file for file in reversed(files) if (file.source, file.name) in applied]
        undone = newest_first[: max(steps, 0)]
        keys = {(file.source, file.name) for file in files}
        for file in undone:
            missing = []
            for source, name in applied:
                if source == file.source and name > file.name and (source, name) not in keys:
                    missing.append(name)
            if missing:
                raise BuildError(
                    f"{', '.join(missing)} was applied after {file.label}, but its file is missing",
                    code="F323",
                    hint="undo it first, with the release that has it",
                )
            _check_unchanged(file, applied[file.source, file.name])
            if not file.down:
                raise BuildError(
                    f"{file.label} has no `-- forge: down` part, so it cannot be undone",
                    code="F323",
                    hint="write a new migration that reverts it",
                )
        for file in undone:
            _undo(conn, file, applied[file.source, file.name].whole)
    return [file.label for file in undone]


def migration_status(conn: AnyConnection, files: Sequence[MigrationFile]) -> list[MigrationStatus]:
    """Return the state of each file and of applied ones without a file. Only reads.

    The application's role has the rights for it.
    """
    applied = {}
    if _scalar(conn, SQL["exists"]):
        applied = _applied(conn)
    result = []
    for file in files:
        row = applied.pop((file.source, file.name), None)
        result.append(MigrationStatus(file.source, file.name, _state(file, row)))
    sources = {file.source for file in files}
    for source, name in applied:
        if source in sources:
            result.append(MigrationStatus(source, name, "missing"))
    return result


@contextmanager
def migration_lock(conn: AnyConnection) -> Iterator[None]:
    """Hold the lock for changes of this database's schema during the block.

    Raises Unavailable F326 after LOCK_WAIT.
    LOCK: a session-level advisory lock, so it ends with the connection. It is polled, because a
    session that blocks in pg_advisory_lock holds a snapshot, for which CREATE INDEX CONCURRENTLY
    would wait.
    """
    deadline = time.monotonic() + LOCK_WAIT
    while not _scalar(conn, "select pg_try_advisory_lock(%s)", LOCK_KEY):
        if time.monotonic() > deadline:
            raise Unavailable("another migration has been running for too long", code="F326")
        time.sleep(LOCK_POLL)  # waiting in PostgreSQL would hold a snapshot
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("select pg_advisory_unlock(%s)", [LOCK_KEY])


def create_migration_table(conn: AnyConnection) -> None:
    """Create forge_migration if it is missing. LOCK: the caller holds migration_lock."""
    if not _scalar(conn, SQL["exists"]):
        conn.execute(SQL["create"])


@contextmanager
def _locked(conn: AnyConnection) -> Iterator[dict[Key, _Applied]]:
    """Hold the migration lock during the block; yield the applied files."""
    with migration_lock(conn):
        try:
            create_migration_table(conn)
        except errors.InsufficientPrivilege as err:
            message = f"the role {conn.info.user} may not migrate: {err.diag.message_primary}"
            raise BuildError(message, code="F322", hint=NOT_OWNER) from err
        try:
            yield _applied(conn)
        finally:
            if not conn.closed:
                conn.execute(SQL["reset"], prepare=False)


def _apply(conn: AnyConnection, file: MigrationFile, done: int) -> None:
    conn.execute(SQL["reset"], prepare=False)
    parts = [file.up] if file.transactional else file.statements
    while done and CLEAN_UP.match(parts[done - 1]):
        done -= 1
    for number, text in enumerate(parts[done:] or [""], done + 1):
        is_last = number >= len(parts)
        checksum = file.checksum if is_last else _partial_checksum(parts, number)
        note = (SQL["note"], [file.source, file.name, checksum, number, is_last])
        with _errors_named(file, text, 0 if file.transactional else number):
            _step(conn, file, text, note)


def _undo(conn: AnyConnection, file: MigrationFile, whole: bool) -> None:
    """Undo a file in one transaction if PostgreSQL allows it, even with `no transaction`."""
    conn.execute(SQL["reset"], prepare=False)
    ignored: Ignored = ()
    parts = [file.down]
    if not whole:
        ignored = ALREADY_UNDONE
        parts = statements(file.down)
    forget = (SQL["forget"], [file.source, file.name])
    with _errors_named(file, file.down if whole else ""):
        try:
            _run_in_transaction(conn, file, parts, forget, ignored)
        except RUNS_ALONE:
            if file.transactional:
                raise
            # After an interruption the file must not count as applied.
            note = [file.source, file.name, _partial_checksum([], 0), 0, False]
            conn.execute(SQL["note"], note)
            for text in statements(file.down):
                with suppress(*ignored):
                    _step(conn, file, text, NOTHING)
            conn.execute(*forget)


def _step(conn: AnyConnection, file: MigrationFile, text: str, note: Note) -> None:
    if file.transactional or not NEVER_IN_TRANSACTION.match(text):
        try:
            _run_in_transaction(conn, file, [text], note)
            return
        except RUNS_ALONE:
            if file.transactional:
                raise
    conn.execute(SQL["limit"], ["0"])
    conn.execute(text, prepare=False)
    conn.execute(*note)


def _run_in_transaction(
    conn: AnyConnection, file: MigrationFile, parts: list[str], note: Note, ignored: Ignored = ()
) -> None:
    """Run the statements and record them in one transaction.

    It is retried if a table stays locked, because the locks it already holds block others.
    parts: the statements. note: how to record them. ignored: errors of a statement to ignore.
    """
    conn.execute(SQL["limit"], [f"{TABLE_WAIT}s"])
    for attempt in range(1, TABLE_TRIES + 1):
        try:
            with conn.transaction():
                _run_all(conn, file, parts, ignored)
                conn.execute(*note)
            return
        except errors.LockNotAvailable:
            if attempt == TABLE_TRIES:
                raise
            time.sleep(TABLE_WAIT / 4)  # waiting transactions take the table now


def _run_all(conn: AnyConnection, file: MigrationFile, parts: list[str], ignored: Ignored) -> None:
    transaction = _scalar(conn, "select pg_current_xact_id()::text")
    for text in parts:
        if ignored:
            with suppress(*ignored), conn.transaction():
                conn.execute(text, prepare=False)
        else:
            conn.execute(text, prepare=False)
    if transaction != _scalar(conn, "select pg_current_xact_id()::text"):
        raise BuildError(
            f"{file.label} ends its transaction by itself, so part of it may be applied",
            code="F324",
            hint="remove COMMIT and ROLLBACK, or start the file with -- forge: no transaction",
        )


@contextmanager
def _errors_named(file: MigrationFile, text: str, statement: int = 0) -> Iterator[None]:
    """Translate psycopg errors of the block, with the file and the place of the error.

    statement: its number; 0: `text` is the whole part, and the error names the line instead.
    """
    try:
        yield
    except errors.LockNotAvailable as err:
        raise Unavailable(
            f"{file.label}: a table stayed locked, so the migration was stopped",
            code="F326",
            hint="try again; see pg_stat_activity for a transaction that stays open",
        ) from err
    except psycopg.Error as err:
        position = f", statement {statement}" if statement else _line(file, text, err)
        reason = err.diag.message_primary or "the connection was lost"
        if err.diag.message_detail:
            reason += f"; {err.diag.message_detail}"
        hint = err.diag.message_hint
        if not hint and isinstance(err, errors.InsufficientPrivilege):
            hint = NOT_OWNER
        raise BuildError(f"{file.label}{position}: {reason}", code="F322", hint=hint) from err


def _line(file: MigrationFile, text: str, err: psycopg.Error) -> str:
    position = err.diag.statement_position
    if not position or not text:
        return ""
    offset = int(position) - 1
    if text == file.down:
        offset += file.sql.rindex(text)
    line = file.sql.count("\n", 0, offset) + 1
    return f":{line}"


def _check_unchanged(file: MigrationFile, row: _Applied | None) -> None:
    if row is not None and _state(file, row) == "changed":
        raise BuildError(
            f"{file.label} was changed after it was applied",
            code="F320",
            hint="restore it, and write the change into a new migration",
        )


def _state(file: MigrationFile, row: _Applied | None) -> State:
    if row is None:
        return "pending"
    if row.whole and row.checksum == file.checksum:
        return "applied"
    if not row.whole and row.checksum == _partial_checksum(file.statements, row.steps):
        return "half applied"
    return "changed"


def _partial_checksum(parts: list[str], steps: int) -> str:
    """Return the checksum of the statements that ran; later ones may still be corrected."""
    return digest("\n;\n".join(parts[:steps]))


def _applied(conn: AnyConnection) -> dict[Key, _Applied]:
    rows = conn.execute(SQL["applied"]).fetchall()
    return {(source, name): _Applied(*state) for source, name, *state in rows}


def _scalar(conn: AnyConnection, query: str, *params: object) -> Any:
    row = conn.execute(query, params or None).fetchone()
    if row is None:
        return None
    return row[0]
