"""SQL statements: placeholders, literals, prepared statements.

Values are passed as parameters, never pasted into a statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import pq
from psycopg.pq import ExecStatus

from ..errors import ForgeError
from ..lazy import lazy_pattern

PLACEHOLDER = lazy_pattern(r"%%|%(?:\((\w+)\))?([sbt])?")
_COMMENTS_AND_STRINGS = lazy_pattern(
    r"(?is)--[^\n]*|/\*.*?\*/|\be'(?:\\.|[^\\'])*'|'[^']*'|(\$\w*\$).*?\1"
)
_CTE_NAMES = lazy_pattern(
    r'(?i)(\w+)"?\s*(?:\([^()]*\)\s*)?\bas\s+(?:(?:not\s+)?materialized\s+)?\('
)
_TABLE = r'(?:only\s+)?(?:"?\w+"?\s*\.\s*)?"?(\w+)"?'
_REFERENCES = lazy_pattern(  # including tables after commas, with or without an alias
    rf"(?i)(?:(?<!\bdistinct )\bfrom|\b(?:join|update|into|using))\s+({_TABLE}"
    rf'(?:(?:\s+(?:as\s+)?"?\w+"?)?\s*,\s*{_TABLE})*)'
)
_TABLES = lazy_pattern(rf"(?i)(?:^|,)\s*{_TABLE}")
_OPERATION = lazy_pattern(r"(?i)\s*(select|insert|update|delete|with|copy|begin|commit|call)\b")

CAPACITY = 100  # statements that stay prepared on a connection, and statements counted
CAN_CLOSE = pq.version() >= 170000  # PQclosePrepared; a pooler understands its message
Statement = tuple[str, tuple[int, ...]]  # the text, and the types (OIDs) of its values
# Never prepared, so that a transaction can end after DEALLOCATE ALL.
BEGIN: Statement = ("begin isolation level read committed", ())
PLAN_ANEW = "\n/* not prepared */"
"""Part of a statement that is planned for its values each time. The plan of a prepared statement is
for average values, so for a rare one it may read the whole table (PostgreSQL manual, PREPARE)."""
UNPREPARED = (BEGIN, ("commit", ()), ("rollback", ()))
# The position in the WAL up to which the commits of this session are, in bytes.
POSITION = "select (pg_current_wal_insert_lsn() - '0/0')::bigint"


def literal(value: str) -> str:
    """Return the string as an SQL literal for a statement with placeholders.

    Only for constants: every other value makes another statement to prepare. Source: PostgreSQL
    manual, section 4.1.2.1.
    """
    escaped = value.replace("'", "''").replace("%", "%%")
    if "\\" in value:
        escaped = escaped.replace("\\", "\\\\")
        return f"E'{escaped}'"
    return f"'{escaped}'"


def sql_array(entries: Iterable[str]) -> str:
    """Return an array as its text (PostgreSQL manual, section 8.15.2)."""
    quoted = (entry.replace("\\", r"\\").replace('"', r"\"") for entry in entries)
    return "{" + ",".join(f'"{entry}"' for entry in quoted) + "}"


@lru_cache(2000)
def number_placeholders(sql: str) -> tuple[str, tuple[str | int, ...]]:
    """Return the statement with $1, $2, ... and the names or sequence indexes of their values.

    Raises psycopg.ProgrammingError for an invalid placeholder.
    PERF: the cache reads each text once; psycopg's is limited to 4,096 characters, and a longer
    text takes 90 to 160 us.
    """
    numbers: dict[str | int, int] = {}

    def number(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        if not match[2]:
            raise psycopg.ProgrammingError(f"{match[0]!r} is not a placeholder; write % as %%")
        name = match[1] or len(numbers)
        return f"${numbers.setdefault(name, len(numbers) + 1)}"

    text = PLACEHOLDER.sub(number, sql)
    return text, tuple(numbers)


def values_of(names: tuple[str | int, ...], params: Any) -> list[Any]:
    """Return the values for these placeholders. Raises psycopg.ProgrammingError if they differ."""
    try:
        # PERF: nearly always a dict; isinstance(..., Mapping) takes 10 us with cold caches.
        if type(params) is dict or isinstance(params, Mapping) or len(params) == len(names):
            return [*map(params.__getitem__, names)]
    except (LookupError, TypeError):
        pass
    expected = ", ".join(map(str, names)) or "none"
    raise psycopg.ProgrammingError(f"the values do not match the placeholders: {expected}")


def operation(query: object) -> str:
    """Return the first word of a statement in lower case, or "other" for another one."""
    if isinstance(query, str):
        match = _OPERATION.match(query)
        if match is not None:
            return match[1].lower()
    return "other"


class PreparedStatements:
    """The statements that one connection has prepared, by name (PostgreSQL manual, PREPARE).

    It is for `run`; psycopg has such a list for its cursors. The least recently used statement is
    removed first. libpq before 17 cannot close a statement without DEALLOCATE, which no pooler
    understands: there the first statements stay.

    after: number of uses before a statement is prepared; None: never.
    """

    def __init__(self, after: int | None) -> None:
        self._after = after
        self._names: dict[Statement, bytes] = {}
        self._counts: dict[Statement, int] = {}
        self._created = 0

    def prepare_immediately(self) -> None:
        """Prepare statements at their first use from now on, unless `after` is None."""
        if self._after is not None:
            self._after = 0

    def name(self, statement: Statement) -> bytes | None:
        """Return the name of a prepared statement, None if it is not prepared."""
        name = self._names.pop(statement, None)
        if name is not None:
            self._names[statement] = name
        return name

    def new_name(self, statement: Statement) -> tuple[bytes, bytes | None] | None:
        """Count one use; return the new statement's name and the name to close first, if any.

        Returns None if the statement is prepared already or was not used often enough, and for
        UNPREPARED and PLAN_ANEW.
        """
        if self._after is None or statement in self._names:
            return None
        if statement in UNPREPARED or PLAN_ANEW in statement[0]:
            return None
        count = self._counts.pop(statement, 0) + 1
        self._counts[statement] = count
        if len(self._counts) > CAPACITY:
            del self._counts[next(iter(self._counts))]
        is_full = len(self._names) >= CAPACITY
        if count <= self._after or (is_full and not CAN_CLOSE):
            return None
        old = None
        if is_full:
            oldest = next(iter(self._names))
            old = self._names.pop(oldest)
        self._created += 1
        name = b"forge_%d" % self._created
        self._names[statement] = name
        return name, old

    def clear(self) -> None:
        """Remove all names, because the server has discarded all statements."""
        self._names.clear()

    def forget(self, *statements: Statement) -> bool:
        """Remove statements and their counts; return whether one was prepared."""
        for statement in statements:
            self._counts.pop(statement, None)
        names = [self._names.pop(statement, None) for statement in statements]
        return any(names)


def require_tenant(conn: Any, sql: str, *, unless_set: bool = False) -> None:
    """Raise ForgeError F418 if the statement uses a table of tenants.

    conn: its `tenant_tables` are the tables of tenants.
    unless_set: allow the statement if a tenant is set on the connection.
    """
    tenant_tables = getattr(conn, "tenant_tables", ())
    # PERF: in development every statement is checked; most use no such table (make run SMOKE=1).
    if not any(table in sql for table in tenant_tables):
        return
    code = _COMMENTS_AND_STRINGS.sub(" ", sql)
    tables = set()
    for match in _REFERENCES.finditer(code):
        tables.update(_TABLES.findall(match[1]))
    tables.difference_update(_CTE_NAMES.findall(code))
    used = tables.intersection(tenant_tables)
    if not used:
        return
    if unless_set:
        row = conn.pgconn.exec_(b"select nullif(current_setting('forge.tenant_id', true), '')")
        # In a failed transaction this fails too: the statement itself raises the error.
        if row.status != ExecStatus.TUPLES_OK or row.get_value(0, 0) is not None:
            return
    raise ForgeError(
        f"this statement uses the tenant table {min(used)}, but no tenant is set:"
        " row-level security hides every row",
        code="F418",
        hint="run it with `run_sql` of any actions, in a request or job that has a tenant",
    )
