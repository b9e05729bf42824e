"""What a database holds, read from PostgreSQL's catalog: schema public without forge's own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from .parts import Key, Part, named, one_line

QUERIES = named("catalog.sql")
FILES = QUERIES.pop("file")


class Executor(Protocol):
    """A database connection, as far as this room knows one: psycopg's will do."""

    def execute(self, query: Any, /) -> Any:
        """Run a statement, or several without parameters."""

    def transaction(self) -> AbstractContextManager[object]:
        """Commits at its end; inside another one a savepoint, as psycopg has it."""


def read_catalog(conn: Executor) -> dict[Key, Part]:
    """Every part, by kind; the columns of a table in their order. One query a kind."""
    found: dict[Key, Part] = {}
    for kind, query in QUERIES.items():
        for identity, table, name, *rest in conn.execute(query).fetchall():
            values: list[Any] = [one_line(x) if isinstance(x, str) else x for x in rest]
            definition, *column = values
            part = Part(kind, table, name, definition, "", identity, *column)
            found[part.key] = part
    return found


def read_files(conn: Executor) -> dict[str, int]:
    """Where each table's rows lie: elsewhere, after they were written anew."""
    return dict(map(tuple, conn.execute(FILES).fetchall()))
