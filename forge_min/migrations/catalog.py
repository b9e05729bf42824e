"""What a database holds, read from PostgreSQL's catalog: tables of schema public without
forge's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

COLUMNS = """
select c.relname, a.attname,
  concat_ws(' ', format_type(a.atttypid, a.atttypmod),
    'default ' || pg_get_expr(d.adbin, d.adrelid), case when a.attnotnull then 'not null' end)
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
  and not starts_with(c.relname, 'forge_')"""
CONSTRAINTS = """
select c.relname, o.conname, pg_get_constraintdef(o.oid)
from pg_constraint o join pg_class c on c.oid = o.conrelid
where c.relnamespace = 'public'::regnamespace and o.contype <> 'n'
  and not starts_with(c.relname, 'forge_')"""
INDEXES = """
select t.relname, i.relname, pg_get_indexdef(i.oid)
from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid
where t.relnamespace = 'public'::regnamespace and not starts_with(t.relname, 'forge_')
  and not exists (select 1 from pg_constraint o where o.conindid = i.oid and o.conrelid = t.oid)"""


class Rows(Protocol):
    """What a query gives."""

    def fetchall(self) -> Sequence[Sequence[Any]]:
        """All its rows."""


class Executor(Protocol):
    """A database connection, as far as this room knows one: psycopg's will do."""

    def execute(self, query: Any, /) -> Rows:
        """Run a statement, or several without parameters."""


@dataclass
class TableState:
    """A table of the catalog: name → definition as PostgreSQL prints it."""

    columns: dict[str, str] = field(default_factory=dict)
    constraints: dict[str, str] = field(default_factory=dict)
    indexes: dict[str, str] = field(default_factory=dict)


def read_catalog(conn: Executor) -> dict[str, TableState]:
    """Every table of schema public that is not forge's own."""
    tables: dict[str, TableState] = {}
    for query, kind in ((COLUMNS, "columns"), (CONSTRAINTS, "constraints"), (INDEXES, "indexes")):
        for table, name, definition in conn.execute(query).fetchall():
            getattr(tables.setdefault(table, TableState()), kind)[name] = definition
    return tables
