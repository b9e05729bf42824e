"""PostgreSQL's errors as domain errors: which rule was broken, never the values that broke it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from ..errors import Conflict, ConstraintViolation, DatabaseError, ForgeError, Unavailable

# SQLSTATE class or code → (our code, message). PostgreSQL manual, appendix A.
UNAVAILABLE = {
    "40001": ("F406", "another transaction changed the same rows"),
    "40P01": ("F406", "this transaction and another waited for each other"),
    "55P03": ("F407", "a row or table stayed locked by another transaction"),
    "57014": ("F407", "the statement took longer than allowed, or was cancelled"),
    "53300": ("F401", "the server has no connection left"),
    "25006": ("F401", "the server takes no writes: it follows another, or was told so"),
    "25P03": ("F405", "the transaction was idle for too long and was ended"),
    "57P03": ("F401", "the server is not ready for connections"),
    "57P": ("F405", "the server ended the connection"),
    "08": ("F405", "the connection to the database was lost"),
    "53": ("F401", "the server has run out of a resource"),
}
KINDS = {
    "23503": ("foreign_key", "a row that is referred to does not exist, or is still in use"),
    "23001": ("foreign_key", "the row is still in use"),
    "23514": ("check", "a value breaks a rule of the table"),
    "23502": ("not_null", "a value is missing"),
    "23P01": ("exclusion", "the row overlaps another"),
    "54000": ("size", "a value is too long for an index"),
}


def translate(err: psycopg.Error) -> ForgeError:
    """The domain error that `err` means.

    unique → Conflict(constraint, table); foreign key, check, not null, exclusion, what is too long
    for an index → ConstraintViolation; serialization, deadlock, timeouts, lost or refused
    connections, a server that takes no writes → Unavailable (F401, F405 to F407); anything else,
    and whatever a table of ours refuses → DatabaseError F410. No message holds a value of a row.
    """
    state = err.sqlstate or ""
    constraint, table = err.diag.constraint_name or "", err.diag.table_name or ""
    if state.startswith(("23", "54")) and table.startswith("forge_"):
        rule = constraint or f"{table}.{err.diag.column_name or ''}"
        return DatabaseError(f"a write broke the rule {rule} of a table of forge_min's own")
    if state == "23505":
        message = "another row already has this value"
        return Conflict(message, constraint=constraint, table=table)
    if state in KINDS:
        kind, message = KINDS[state]
        column = err.diag.column_name or ""
        return ConstraintViolation(
            message, kind=kind, constraint=constraint, column=column, table=table
        )
    found = next((UNAVAILABLE[state[:n]] for n in (5, 3, 2) if state[:n] in UNAVAILABLE), None)
    if found:
        return Unavailable(found[1], code=found[0])
    if not state and isinstance(err, (pg.OperationalError, pg.InterfaceError)):
        return Unavailable("the connection to the database was lost", code="F405")
    if not state:
        return DatabaseError(f"the database driver refused a statement ({type(err).__name__})")
    # Class 42 speaks of names and syntax only; any other text may hold a value.
    said = f": {err.diag.message_primary}" if state.startswith("42") else ""
    return DatabaseError(f"PostgreSQL refused a statement ({state} {type(err).__name__}){said}")


@contextmanager
def errors_translated() -> Iterator[None]:
    """A block whose psycopg errors leave it translated; the original is the cause."""
    try:
        yield
    except psycopg.Error as err:
        raise translate(err) from err
