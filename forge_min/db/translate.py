"""PostgreSQL's errors as domain errors: which rule was broken, never the values that broke it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from ..errors import Conflict, ConstraintViolation, DatabaseError, ForgeError, Unavailable
from ..i18n import gettext_noop
from ..resources import table

TABLE = table(__package__, "errors.toml")


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
        message = gettext_noop("another row already has this value")
        return Conflict(message, constraint=constraint, table=table)
    if row := TABLE["violation"].get(state):
        column = err.diag.column_name or ""
        return ConstraintViolation(**row, constraint=constraint, column=column, table=table)
    for length in (5, 3, 2):
        if row := TABLE["unavailable"].get(state[:length]):
            return Unavailable(**row)
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
