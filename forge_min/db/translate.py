"""Translates PostgreSQL's errors into domain errors, without values of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors as pg

from ..errors import Conflict, ConstraintViolation, DatabaseError, ForgeError, Unavailable
from ..i18n import gettext_noop
from ..resources import table

TABLE = table(__package__, "errors.toml")
UNKNOWN = gettext_noop(
    "the connection was lost while this was being saved. Send the form again, or repeat the request"
    " with its Idempotency-Key: it is saved once. Without a key, check first whether it was saved"
)


class NoResponse(psycopg.OperationalError):
    """The server did not respond within the patience of the connection."""

    sqlstate = "08006"  # connection_failure


def translate(err: psycopg.Error, *, commits: bool = False) -> ForgeError:
    """Return the domain error for a psycopg error; no message holds a value of a row.

    commits: whether the statement may have committed changes; then a lost connection is F409.

    unique → Conflict(constraint, table);
    foreign key, check, not null, exclusion, a value too long for an index → ConstraintViolation;
    serialization, deadlock, time-outs, lost or rejected connections, a read-only server →
    Unavailable (F401, F405 to F407, F409, F656);
    all others, and every violation of a forge_ table → DatabaseError F410.
    """
    state = err.sqlstate or ""
    constraint = err.diag.constraint_name or ""
    table = err.diag.table_name or ""
    column = err.diag.column_name or ""
    if state.startswith(("23", "54")) and table.startswith("forge_"):
        rule = constraint or f"{table}.{column}"
        return DatabaseError(f"a write violated the rule {rule} of forge_min's own tables")
    if state == "23505":
        message = gettext_noop("another row already has this value")
        return Conflict(message, constraint=constraint, table=table)
    row = TABLE["violation"].get(state)
    if row is not None:
        return ConstraintViolation(**row, constraint=constraint, column=column, table=table)
    for length in (5, 3, 2):
        row = TABLE["unavailable"].get(state[:length])
        if row is not None:
            # A session that is terminated (57P01) undoes its statement first.
            if commits and row["code"] == "F405" and state != "57P01":
                return Unavailable(UNKNOWN, code="F409")
            return Unavailable(**row)
    name = type(err).__name__
    if not state:
        if not isinstance(err, (pg.OperationalError, pg.InterfaceError)):
            return DatabaseError(f"the database driver rejected a statement ({name})")
        if commits:
            return Unavailable(UNKNOWN, code="F409")
        return Unavailable("the connection to the database was lost", code="F405")
    # Messages of class 42 contain only names and syntax; others may contain a value.
    message = f"PostgreSQL rejected a statement ({state} {name})"
    if state.startswith("42"):
        message += f": {err.diag.message_primary}"
    return DatabaseError(message)


@contextmanager
def errors_translated(*, commits: bool = False) -> Iterator[None]:
    """Raise psycopg errors of the block translated, with the original as the cause.

    commits: as in `translate`.
    """
    try:
        yield
    except psycopg.Error as err:
        raise translate(err, commits=commits) from err


def connection_error(text: str, values: Mapping[str, Any]) -> ForgeError:
    """Return the error for libpq's message, without the words of the server.

    values: the connection parameters.
    """
    server = f"{values.get('host') or 'the local socket'}:{values.get('port') or 5432}"
    user = values.get("user") or "(you)"
    name = values.get("dbname") or values.get("user")
    row = next(row for part, row in TABLE["refused"].items() if part in text)
    message = row["message"].format(at=server, user=user, name=name)
    error = Unavailable(message, code="F401", hint=row["hint"])
    error.attempts = row.get("attempts", 0.0)
    return error
