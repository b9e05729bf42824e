"""The objects of the schema public, as SQL and as in PostgreSQL's catalog.

Tables of forge_min itself are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import BuildError
from ..parse import MAX_NAME
from ..resources import files
from ..sql_files import load_sql

PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
CONTROL = re.compile(r"[\x01-\x1f\x7f\\]")
UNPRINTABLE = re.compile(r"[\x01-\x1f\x7f]")
STRING = re.compile(r"(E?)'((?:[^']|'')*)'")
_WORDS = files(__package__).joinpath("reserved.sql").read_text("utf-8").partition("\n")[2]
RESERVED = frozenset(_WORDS.split())


def identifier(name: str) -> str:
    """Return a name in SQL, quoted only if necessary.

    Raises BuildError F330 for a name that PostgreSQL would truncate or cannot store.
    """
    if not name or "\0" in name or len(name.encode()) > MAX_NAME:
        why = f"it must have 1 to {MAX_NAME} bytes"
        raise BuildError(f"{name!r} cannot be a name in PostgreSQL: {why}", code="F330")
    if PLAIN.fullmatch(name) and name not in RESERVED:
        return name
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def literal(text: str) -> str:
    """Return a string literal on one line, valid for any standard_conforming_strings.

    text: one that PostgreSQL can store, as `parse` checks.
    """
    quoted = text.replace("'", "''")
    if not CONTROL.search(text):
        return f"'{quoted}'"
    escaped = CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", quoted)
    return f"E'{escaped}'"


def one_line(sql: str) -> str:
    """Return PostgreSQL's SQL with string literals as of `literal`, without line breaks."""

    def escaped(match: re.Match[str]) -> str:
        text = match[2]
        if not match[1]:
            text = text.replace("\\", "\\\\")
        body = UNPRINTABLE.sub(lambda char: f"\\x{ord(char[0]):02x}", text)
        if body == text:
            return match[0]
        return f"E'{body}'"

    return STRING.sub(escaped, sql)


Key = tuple[str, str, str]  # kind, table, name


STATEMENTS = load_sql("forge_min.migrations", "statements.sql")


@dataclass(frozen=True, slots=True)
class DbObject:
    """One object of a database schema.

    kind: table, column, constraint, index, security, policy or view; also option, grant, function
        and sequence, which only hand-written files change.
    table: the table that it belongs to.
    definition: as PostgreSQL prints it.
    sql: as our statements write it; "" if it is not from a schema.
    identity: stays the same after a rename.
    type, default, required: of a column, as PostgreSQL prints them.
    generated: expression of a generated column, else "".
    """

    kind: str
    table: str
    name: str
    definition: str = ""
    sql: str = ""
    identity: str = ""
    type: str = ""
    default: str = ""
    required: bool = False
    generated: str = ""

    @property
    def key(self) -> Key:
        """Kind, table and name."""
        return self.kind, self.table, self.name

    @property
    def text(self) -> str:
        """The text after its name in a statement."""
        return self.sql or self.definition

    def is_constraint(self, words: str) -> bool:
        """Whether it is a constraint of this type: "foreign key", "primary key", "unique"."""
        return self.kind == "constraint" and self.text.lower().startswith(words)

    @property
    def indexed(self) -> str:
        """The columns of an index, or of a unique constraint; "" for other objects."""
        if self.kind != "index" and not self.is_constraint("unique"):
            return ""
        return re.sub("^unique ", "", self.text, flags=re.IGNORECASE)

    @property
    def unique(self) -> bool:
        """Whether its index is unique."""
        return self.text.lower().startswith("unique ")


State = Mapping[Key, DbObject]


def sql_for(entry: str, obj: DbObject, text: str | None = None, **names: str) -> str:
    """Return a statement of statements.sql for an object.

    text: replaces the object's own.
    names: further identifiers, or replacements of "name" and "table".
    """
    names = {"name": obj.name or obj.table, "table": obj.table or "x", **names}
    values = {name: identifier(value) for name, value in names.items()}
    if text is None:
        text = obj.text
    return STATEMENTS[entry].format(**values, text=text, raw=names["name"]) + ";\n"


def create(obj: DbObject) -> str:
    """Return the CREATE statement of any object except a table (`create_table`)."""
    if obj.kind == "index" and obj.unique:
        return sql_for("create unique index", obj, obj.indexed)
    return sql_for(f"create {obj.kind}", obj)


def extensions(objects: Iterable[DbObject]) -> list[str]:
    """Return the statements that create the extensions that these objects need."""
    for obj in objects:
        if "gin_trgm_ops" in obj.text:
            return [sql_for("create extension", DbObject("extension", "", "pg_trgm"))]
    return []


def create_table(table: str, objects: Iterable[DbObject]) -> str:
    """Return CREATE TABLE with the columns, and the constraints except foreign keys."""
    columns = []
    keys = []
    constraints = []
    for obj in objects:
        if obj.table != table or obj.kind not in ("column", "constraint"):
            continue
        line = f"{identifier(obj.name)} {obj.text}"
        if obj.kind == "column":
            columns.append(line)
        elif obj.is_constraint("primary key"):
            keys.append(f"constraint {line}")
        elif not obj.is_constraint("foreign key"):
            constraints.append(f"constraint {line}")
    lines = ",\n  ".join(columns + keys + constraints)
    return f"create table {identifier(table)} (\n  {lines}\n);\n"


QUERIES = load_sql("forge_min.migrations", "catalog.sql")
FILES = QUERIES.pop("file")


class Executor(Protocol):
    """The part of a database connection that this package uses (of psycopg's Connection)."""

    def execute(self, query: Any, /) -> Any:
        """Run one statement, or several without parameters."""

    def transaction(self) -> AbstractContextManager[object]:
        """Return a transaction, or a savepoint inside another one, as psycopg."""


def read_catalog(conn: Executor) -> dict[Key, DbObject]:
    """Return every object, by kind; columns in their order. One query per kind."""
    objects: dict[Key, DbObject] = {}
    for kind, query in QUERIES.items():
        for identity, table, name, *rest in conn.execute(query).fetchall():
            values: list[Any] = [one_line(x) if isinstance(x, str) else x for x in rest]
            definition, *column = values
            obj = DbObject(kind, table, name, definition, "", identity, *column)
            objects[obj.key] = obj
    return objects


def read_files(conn: Executor) -> dict[str, int]:
    """Return the file of each table's rows. Rewriting a table changes its file."""
    return dict(map(tuple, conn.execute(FILES).fetchall()))
