"""Statements as text: named ones of .sql files, their placeholders, constants in them.

Parameters only: nothing of a caller is ever pasted into a statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.pq import ExecStatus

from ..data import files
from ..errors import BuildError, ForgeError
from ..expression import expression

NAME = expression(r"^-- name: *(\S+) *$", re.MULTILINE)
PLACEHOLDER = expression(r"%%|%(?:\((\w+)\))?([sbt])?")
_NO_NAMES = expression(  # comments and strings
    r"(?is)--[^\n]*|/\*.*?\*/|\be'(?:\\.|[^\\'])*'|'[^']*'|(\$\w*\$).*?\1"
)
_WITH = expression(r'(?i)(\w+)"?\s*(?:\([^()]*\)\s*)?\bas\s+(?:(?:not\s+)?materialized\s+)?\(')
_TABLE = r'(?:only\s+)?(?:"?\w+"?\s*\.\s*)?"?(\w+)"?'
_USED = expression(  # with the tables behind commas, which may have aliases
    rf"(?i)(?:(?<!\bdistinct )\bfrom|\b(?:join|update|into|using))\s+({_TABLE}"
    rf'(?:(?:\s+(?:as\s+)?"?\w+"?)?\s*,\s*{_TABLE})*)'
)
_LISTED = expression(rf"(?i)(?:^|,)\s*{_TABLE}")


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
def numbered(sql: str) -> tuple[str, tuple[str | int, ...]]:
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


def values_at(places: tuple[str | int, ...], params: Any) -> list[Any]:
    """The values that `numbered` asks for, of a mapping or a sequence. Raises ProgrammingError."""
    try:
        # PERF: nearly always a dict, and the look at Mapping costs 10 us when nothing is warm.
        if type(params) is dict or isinstance(params, Mapping) or len(params) == len(places):
            return [*map(params.__getitem__, places)]
    except (LookupError, TypeError):
        pass
    wanted = ", ".join(map(str, places)) or "none"
    raise psycopg.ProgrammingError(f"other values than the statement's are given: {wanted}")


def refuse_without_tenant(conn: Any, sql: str, *, unless_set: bool = False) -> None:
    """Raises ForgeError F418 if the statement uses a table of tenants. unless_set: not if a tenant
    is set on the connection.
    """
    tenant_tables = getattr(conn, "tenant_tables", ())
    # PERF: in development every statement comes here; most use no such table (make run SMOKE=1).
    if not any(table in sql for table in tenant_tables):
        return
    names = _NO_NAMES.sub(" ", sql)
    tables = {name for found in _USED.finditer(names) for name in _LISTED.findall(found[1])}
    used = (tables - {*_WITH.findall(names)}).intersection(tenant_tables)
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
