"""Statements: named ones of .sql files, placeholders, constants, and which are prepared.

Parameters only: nothing of a caller is ever pasted into a statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import pq
from psycopg.pq import ExecStatus

from ..errors import BuildError, ForgeError
from ..lazy import lazy_pattern
from ..resources import files

NAME = lazy_pattern(r"^-- name: *(\S+) *$", re.MULTILINE)
PLACEHOLDER = lazy_pattern(r"%%|%(?:\((\w+)\))?([sbt])?")
_COMMENTS_AND_STRINGS = lazy_pattern(  # comments and strings
    r"(?is)--[^\n]*|/\*.*?\*/|\be'(?:\\.|[^\\'])*'|'[^']*'|(\$\w*\$).*?\1"
)
_CTE_NAMES = lazy_pattern(
    r'(?i)(\w+)"?\s*(?:\([^()]*\)\s*)?\bas\s+(?:(?:not\s+)?materialized\s+)?\('
)
_TABLE = r'(?:only\s+)?(?:"?\w+"?\s*\.\s*)?"?(\w+)"?'
_REFERENCES = lazy_pattern(  # with the tables behind commas, which may have aliases
    rf"(?i)(?:(?<!\bdistinct )\bfrom|\b(?:join|update|into|using))\s+({_TABLE}"
    rf'(?:(?:\s+(?:as\s+)?"?\w+"?)?\s*,\s*{_TABLE})*)'
)
_TABLES = lazy_pattern(rf"(?i)(?:^|,)\s*{_TABLE}")

CAN_CLOSE = pq.version() >= 170000  # PQclosePrepared; a pooler understands its message
Statement = tuple[str, tuple[int, ...]]  # its text, and the types (OIDs) of its values


def load_sql(package: str, file: str) -> dict[str, str]:
    """The statements of `file` in `package` (dotted; a zip is fine), by the name in `-- name:
    fetch`.

    Text before the first name is a comment. Raises BuildError F329 for a name that comes twice,
    an empty statement or a file without any.
    """
    parts = NAME.split((files(package) / file).read_text("utf-8"))
    found: dict[str, str] = {}
    for name, text in zip(parts[1::2], parts[2::2]):
        if name in found or not text.strip():
            raise BuildError(f"{file}: statement {name} comes twice or is empty", code="F329")
        found[name] = text.strip().removesuffix(";")
    if not found:
        raise BuildError(f"{file}: no line says `-- name: ...`", code="F329")
    return found


def literal(value: str) -> str:
    """The string as a constant of a statement that has placeholders too (PostgreSQL manual,
    4.1.2.1). For what does not change from call to call: each text is a statement of its own.
    """
    escaped = value.replace("'", "''").replace("%", "%%")
    return f"'{escaped}'" if "\\" not in value else "E'" + escaped.replace("\\", "\\\\") + "'"


@lru_cache(2000)
def number_placeholders(sql: str) -> tuple[str, tuple[str | int, ...]]:
    """The statement with $1, $2, ... and the names, or places in a sequence, of their values.

    PERF: each text is read once; psycopg does so up to 4,096 characters only, and takes 90 to 160
    us for a longer one.
    """
    numbers: dict[str | int, int] = {}

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if not found[2]:
            raise psycopg.ProgrammingError(f"{found[0]!r} is no placeholder; a percent sign is %%")
        name = found[1] or len(numbers)
        return f"${numbers.setdefault(name, len(numbers) + 1)}"

    text = PLACEHOLDER.sub(number, sql)
    return text, tuple(numbers)


def values_of(places: tuple[str | int, ...], params: Any) -> list[Any]:
    """The values that `number_placeholders` asks for, of a mapping or a sequence. Raises ProgrammingError."""
    try:
        # PERF: nearly always a dict, and the look at Mapping costs 10 us when nothing is warm.
        if type(params) is dict or isinstance(params, Mapping) or len(params) == len(places):
            return [*map(params.__getitem__, places)]
    except (LookupError, TypeError):
        pass
    wanted = ", ".join(map(str, places)) or "none"
    raise psycopg.ProgrammingError(f"other values than the statement's are given: {wanted}")


class PreparedStatements:
    """The statements that one connection has prepared, by name (PostgreSQL manual, PREPARE).

    psycopg keeps such a list for its cursors; this one is for `run`, which uses none. The least
    recently used statement goes first. after: a statement is prepared once it came this often; None
    = never. room: so many stay prepared, and so many are counted. Where libpq cannot let one go
    (before 17, without the server's DEALLOCATE, which no pooler understands), the first stay.
    """

    def __init__(self, after: int | None, capacity: int = 100) -> None:
        self._after = after
        self._capacity = capacity
        self._names: dict[Statement, bytes] = {}
        self._counts: dict[Statement, int] = {}
        self._created = 0

    def prepare_immediately(self) -> None:
        """Prepare from now on what comes the first time, where anything is prepared."""
        self._after = None if self._after is None else 0

    def name(self, statement: Statement) -> bytes | None:
        """The name of a prepared statement."""
        name = self._names.pop(statement, None)
        if name is not None:
            self._names[statement] = name
        return name

    def new_name(self, statement: Statement) -> tuple[bytes, bytes | None] | None:
        """Count one use; the name to prepare the statement under, and one to close for it.

        None if it has a name already, or did not come often enough.
        """
        if self._after is None or statement in self._names:
            return None
        self._counts[statement] = count = self._counts.pop(statement, 0) + 1
        if len(self._counts) > self._capacity:
            del self._counts[next(iter(self._counts))]
        full = len(self._names) >= self._capacity
        if count <= self._after or (full and not CAN_CLOSE):
            return None
        old = self._names.pop(next(iter(self._names))) if full else None
        self._created += 1
        self._names[statement] = name = b"forge_%d" % self._created
        return name, old

    def forget(self, *statements: Statement) -> bool:
        """They could not be prepared, or are of no more use; whether one was. They count anew."""
        for statement in statements:
            self._counts.pop(statement, None)
        known = [self._names.pop(statement, None) for statement in statements]
        return any(known)


def require_tenant(conn: Any, sql: str, *, unless_set: bool = False) -> None:
    """Raises ForgeError F418 if the statement uses a table of tenants. unless_set: not if a tenant
    is set on the connection.
    """
    tenant_tables = getattr(conn, "tenant_tables", ())
    # PERF: in development every statement comes here; most use no such table (make run SMOKE=1).
    if not any(table in sql for table in tenant_tables):
        return
    names = _COMMENTS_AND_STRINGS.sub(" ", sql)
    tables = {name for found in _REFERENCES.finditer(names) for name in _TABLES.findall(found[1])}
    used = (tables - {*_CTE_NAMES.findall(names)}).intersection(tenant_tables)
    if not used:
        return
    if unless_set:
        found = conn.pgconn.exec_(b"select nullif(current_setting('forge.tenant_id', true), '')")
        # A transaction that has failed answers nothing: the statement gets its error.
        if found.status != ExecStatus.TUPLES_OK or found.get_value(0, 0) is not None:
            return
    raise ForgeError(
        f"this statement uses {min(used)}, whose rows belong to tenants, and no tenant is set:"
        " row-level security hides every row",
        code="F418",
        hint="run it with `run_sql` of any actions, in a request or job that has a tenant",
    )
