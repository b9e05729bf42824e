"""Migration files as values: how they are named, read and taken apart. Nothing here touches a
database.

A file is `NNNN_name.sql`. What stands before a line `-- forge: down` brings the database up, what
stands after it takes it down again. Its leading comment lines may say `-- forge: generated` (made
by `migrate diff`) and `-- forge: no transaction` (each statement commits by itself).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BuildError
from ..lazy import lazy_pattern

FILE_NAME = lazy_pattern(r"\d{4}_[a-z0-9_]+\.sql")
HEAD = lazy_pattern(r"([ \t]*--.*\n?)*")
DOWN_LINE = lazy_pattern(r"^-- forge: down[ \t]*$", re.MULTILINE)
# What may hide a semicolon: strings, quoted names, dollar quotes, comments (nested ones by
# _skip_comment).
TOKEN = lazy_pattern(
    r"--[^\n]*|/\*|(?<![A-Za-z0-9_$])[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"[^\"]*\""
    r"|(?<![A-Za-z0-9_$])\$(?:[A-Za-z_][A-Za-z0-9_]*)?\$|\bbegin\s+atomic\b|\bcase\b|\bend\b|;",
    re.IGNORECASE | re.DOTALL,
)

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


@dataclass(frozen=True)
class MigrationFile:
    """One file. source: "forge" or "app". name: the file's. checksum: SHA-256 of its text."""

    source: str
    name: str
    sql: str

    @cached_property
    def checksum(self) -> str:
        """Of the text with Unix line ends, so that a checkout on another system changes nothing."""
        return digest(self.sql)

    @property
    def label(self) -> str:
        """The name as a person knows it: "0001_initial.sql", "forge/0001_jobs.sql"."""
        return self.name if self.source == "app" else f"{self.source}/{self.name}"

    @property
    def up(self) -> str:
        """The part that is applied."""
        return DOWN_LINE.split(self.sql, maxsplit=1)[0]

    @cached_property
    def statements(self) -> list[str]:
        """The single statements of the up part."""
        return statements(self.up)

    @property
    def down(self) -> str:
        """The part that undoes it; "" where there is none."""
        return (DOWN_LINE.split(self.sql, maxsplit=1) + [""])[1].strip()

    @property
    def generated(self) -> bool:
        """Whether `migrate diff` wrote it."""
        return "-- forge: generated" in self._head

    @property
    def transactional(self) -> bool:
        """Whether the whole file is one transaction."""
        return "-- forge: no transaction" not in self._head

    @property
    def _head(self) -> list[str]:
        head = HEAD.match(self.sql)
        return [line.strip() for line in head[0].splitlines()] if head else []


def read_migrations(folder: Path | Traversable, source: str = "app") -> list[MigrationFile]:
    """The migration files of a folder, in order; none where the folder does not exist.

    Raises BuildError F321 for a .sql file with another name, a number that comes twice, or what is
    no file or no text.
    """
    if not folder.is_dir():
        return []
    found: dict[str, MigrationFile] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not entry.name.endswith(".sql"):
            continue
        if not FILE_NAME.fullmatch(entry.name):
            raise BuildError(
                f"migrations: {entry.name} is not named like 0001_what_it_does.sql", code="F321"
            )
        if not entry.is_file():  # a pipe would be waited for
            raise BuildError(f"migrations: {entry.name} is no regular file", code="F321")
        number = entry.name[:4]
        if number in found:
            raise BuildError(
                f"migrations: {found[number].name} and {entry.name} have the same number",
                code="F321",
                hint="give the later one the next free number",
            )
        try:
            text = entry.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as err:
            message = f"migrations: {entry.name} is no UTF-8 text: {err.reason}"
            raise BuildError(message, code="F321") from None
        found[number] = MigrationFile(source, entry.name, text)
    return list(found.values())


def digest(text: str) -> str:
    """The checksum of a migration's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def statements(sql: str) -> list[str]:
    """The single statements of a script, without those that are empty or only comments.

    Follows PostgreSQL's lexical rules (manual, section 4.1) with standard_conforming_strings on,
    and SQL-standard function bodies (begin atomic ... end).
    """
    found: list[str] = []
    start = position = depth = 0
    solid = False
    while match := TOKEN.search(sql, position):
        token = match.group().lower()
        solid = solid or bool(sql[position : match.start()].strip())
        position = match.end()
        if token == "/*":
            position = _skip_comment(sql, position)
        elif token.startswith("$"):
            closing = sql.find(match.group(), position)
            position = len(sql) if closing < 0 else closing + len(token)
        elif token.startswith("begin") or (token == "case" and depth):
            depth += 1
        elif token == "end":
            depth = max(0, depth - 1)
        elif token == ";" and not depth:
            if solid:
                found.append(sql[start : match.start()].strip())
            start, solid = position, False
            continue
        solid = solid or not token.startswith(("--", "/*"))
    if solid or sql[position:].strip():
        found.append(sql[start:].strip())
    return found


def _skip_comment(sql: str, position: int) -> int:
    depth = 1
    while depth and (match := re.compile(r"/\*|\*/").search(sql, position)):
        depth += 1 if match.group() == "/*" else -1
        position = match.end()
    return position if not depth else len(sql)
