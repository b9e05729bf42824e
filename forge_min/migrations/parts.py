"""Part: one named piece of a schema, as SQL and as PostgreSQL's catalog has it.

The catalog is that of schema public, without forge's own tables.
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

PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
CONTROL = re.compile(r"[\x01-\x1f\x7f\\]")
UNPRINTABLE = re.compile(r"[\x01-\x1f\x7f]")
STRING = re.compile(r"(E?)'((?:[^']|'')*)'")
_WORDS = files(__package__).joinpath("reserved.sql").read_text("utf-8").partition("\n")[2]
RESERVED = frozenset(_WORDS.split())


def identifier(name: str) -> str:
    """A name as it is written in SQL: quoted where it must be.

    Raises BuildError F330 for a name that PostgreSQL would cut or cannot hold.
    """
    if not name or "\0" in name or len(name.encode()) > MAX_NAME:
        why = f"it has more than {MAX_NAME} bytes or none"
        raise BuildError(f"{name!r} cannot be a name in PostgreSQL: {why}", code="F330")
    if PLAIN.fullmatch(name) and name not in RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string as it is written in SQL, whatever standard_conforming_strings says, on one line.

    Raises BuildError F330 for a NUL or a lone surrogate, which no text of PostgreSQL can hold.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BuildError(f"{text!r} cannot be a text in PostgreSQL", code="F330")
    quoted = text.replace("'", "''")
    if not CONTROL.search(text):
        return f"'{quoted}'"
    return "E'" + CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", quoted) + "'"


def one_line(sql: str) -> str:
    """SQL as PostgreSQL prints it, its strings as `literal` writes them: without line breaks."""

    def escaped(found: re.Match[str]) -> str:
        text = found[2] if found[1] else found[2].replace("\\", "\\\\")
        body = UNPRINTABLE.sub(lambda one: f"\\x{ord(one.group()):02x}", text)
        return found[0] if body == text else f"E'{body}'"

    return STRING.sub(escaped, sql)


Key = tuple[str, str, str]  # kind, table, name


def named(file: str) -> dict[str, str]:
    """The texts of a .sql file of this room, by their names."""
    text = files(__package__).joinpath(file).read_text("utf-8")
    _, *pieces = re.split(r"^-- name: (.+)\n", text, flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(pieces[::2], pieces[1::2])}


STATEMENTS = named("statements.sql")


@dataclass(frozen=True, slots=True)
class Part:
    """kind: table, column, constraint, index, security, policy, view; and what only a person
    changes: option, grant, function, sequence.

    table: the one it belongs to. definition: as the catalog prints it. sql: as a person would write
    it, "" where nobody did. identity: the object's own, which survives a rename. type and what
    follows: of a column, in PostgreSQL's words. generated: its expression; "" means none.
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
        """What it is called."""
        return self.kind, self.table, self.name

    @property
    def text(self) -> str:
        """What follows its name in a statement."""
        return self.sql or self.definition

    def begins(self, words: str) -> bool:
        """Whether it is a constraint of this sort: "foreign key", "primary key", "unique"."""
        return self.kind == "constraint" and self.text.lower().startswith(words)

    @property
    def indexed(self) -> str:
        """What its index covers, or the one behind a unique constraint; "" of other parts."""
        if self.kind != "index" and not self.begins("unique"):
            return ""
        return re.sub("^unique ", "", self.text, flags=re.IGNORECASE)

    @property
    def unique(self) -> bool:
        """Whether its index lets nothing come twice."""
        return self.text.lower().startswith("unique ")


State = Mapping[Key, Part]


def say(what: str, part: Part, text: str | None = None, **names: str) -> str:
    """A statement of statements.sql about a part. text: instead of its own. names: further ones."""
    given = {"name": part.name or part.table, "table": part.table or "x", **names}
    values = {name: identifier(value) for name, value in given.items()}
    text = part.text if text is None else text
    return STATEMENTS[what].format(**values, text=text, raw=given["name"]) + "\n"


def create(part: Part) -> str:
    """The statement that makes it. A table's is `create_table`."""
    unique = part.kind == "index" and part.unique
    return say(f"create {'unique ' * unique}{part.kind}", part, part.indexed if unique else None)


def create_table(table: str, parts: Iterable[Part]) -> str:
    """The CREATE TABLE statement: the table's columns and constraints without foreign keys."""
    own = [part for part in parts if part.table == table]
    lines = [f"{identifier(part.name)} {part.text}" for part in own if part.kind == "column"]
    for part in sorted(own, key=lambda part: not part.begins("primary key")):
        if part.kind == "constraint" and not part.begins("foreign key"):
            lines.append(f"constraint {identifier(part.name)} {part.text}")
    return f"create table {identifier(table)} (\n  " + ",\n  ".join(lines) + "\n);\n"


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
