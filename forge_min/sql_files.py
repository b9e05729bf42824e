"""SQL files: named statements, and migration files. Uses no database.

A migration file is named `NNNN_name.sql`. The part before a line `-- forge: down` applies the
migration, the part after it undoes it. The comment lines at its top may contain `-- forge:
generated` (written by `migrate diff`) and `-- forge: no transaction` (each statement commits by
itself).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BuildError
from .lazy import lazy_pattern
from .resources import files

STATEMENT_NAME = lazy_pattern(r"^(?:--(?! name:).*\n)*-- name: *(\S.*?) *$", re.MULTILINE)
FILE_NAME = lazy_pattern(r"\d{4}_[a-z0-9_]+\.sql")
HEAD = lazy_pattern(r"([ \t]*--.*\n?)*")
DOWN_LINE = lazy_pattern(r"^-- forge: down[ \t]*$", re.MULTILINE)
# Statements, one a line, after which a table or a column is gone or has another name, or a column
# has another type or needs a value.
BREAKING = lazy_pattern(
    r"\b(?:drop table|alter table [^;]*?(?:rename (?!constraint )|drop column|set not null"
    r"|alter (?:column )?(?!column )\S+ (?:set data )?type "
    r"|add column (?!(?:[^,;(]|\([^;)]*\))* (?:default|generated) )"
    r"(?:[^,;(]|\([^;)]*\))*not null))[^;]*",
    re.IGNORECASE,
)
# Tokens that may contain a semicolon: strings, quoted names, dollar quotes, comments (nested ones:
# _skip_comment).
TOKEN = lazy_pattern(
    r"--[^\n]*|/\*|(?<![A-Za-z0-9_$])[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"[^\"]*\""
    r"|(?<![A-Za-z0-9_$])\$(?:[A-Za-z_][A-Za-z0-9_]*)?\$|\bbegin\s+atomic\b|\bcase\b|\bend\b|;",
    re.IGNORECASE | re.DOTALL,
)

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def load_sql(package: str, file: str) -> dict[str, str]:
    """Return the statements of a .sql file by the name in their line `-- name: fetch`.

    package: dotted name of a package, which may be in a zip file.
    file: name of the file. Text before the first `-- name:`, and lines of comments before another,
        belong to no statement.
    Raises BuildError F329 for a duplicate name, an empty statement or a file without statements.
    """
    parts = STATEMENT_NAME.split((files(package) / file).read_text("utf-8"))
    result = {}
    for name, text in zip(parts[1::2], parts[2::2]):
        if name in result or not text.strip():
            raise BuildError(f"{file}: statement {name} is empty or a duplicate", code="F329")
        result[name] = text.strip().removesuffix(";")
    if not result:
        raise BuildError(f"{file}: no line `-- name: ...` found", code="F329")
    return result


@dataclass(frozen=True)
class MigrationFile:
    """One migration file.

    source: "forge" or "app".
    name: of the file.
    sql: its text, with Unix line ends.
    """

    source: str
    name: str
    sql: str

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the text with Unix line ends, so it is the same in every checkout."""
        return digest(self.sql)

    @property
    def label(self) -> str:
        """The name in messages: "0001_initial.sql", "forge/0001_jobs.sql"."""
        if self.source == "app":
            return self.name
        return f"{self.source}/{self.name}"

    @property
    def up(self) -> str:
        """The part that is applied."""
        return DOWN_LINE.split(self.sql, maxsplit=1)[0]

    @cached_property
    def statements(self) -> list[str]:
        """The statements of the up part."""
        return statements(self.up)

    @property
    def breaking(self) -> list[str]:
        """The statements of the up part that code of the running release may not survive."""
        return BREAKING.findall(" ".join(re.sub("--.*", "", self.up).split()))

    @property
    def down(self) -> str:
        """The part that undoes the migration; "" if the file has no such part."""
        _, *down = DOWN_LINE.split(self.sql, maxsplit=1)
        return "".join(down).strip()

    @property
    def generated(self) -> bool:
        """Whether `migrate diff` wrote the file."""
        return "-- forge: generated" in self._head

    @property
    def transactional(self) -> bool:
        """Whether the whole file is one transaction."""
        return "-- forge: no transaction" not in self._head

    @property
    def _head(self) -> list[str]:
        head = HEAD.match(self.sql)
        assert head  # it may be empty
        return [line.strip() for line in head[0].splitlines()]


def read_migrations(folder: Path | Traversable, source: str = "app") -> list[MigrationFile]:
    """Return the migration files of a folder in order; [] if it does not exist.

    Raises BuildError F321 for a .sql file with an invalid name, a duplicate number, a directory or
    device, and text that is not UTF-8.
    """
    if not folder.is_dir():
        return []
    by_number: dict[str, MigrationFile] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not entry.name.endswith(".sql"):
            continue
        if not FILE_NAME.fullmatch(entry.name):
            raise _invalid(f"{entry.name} is not named like 0001_what_it_does.sql")
        if not entry.is_file():  # reading a pipe would block
            raise _invalid(f"{entry.name} is not a regular file")
        number = entry.name[:4]
        if number in by_number:
            why = f"{by_number[number].name} and {entry.name} have the same number"
            raise _invalid(why, hint="give the later one the next free number")
        try:
            text = entry.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as err:
            raise _invalid(f"{entry.name} is not UTF-8 text: {err.reason}") from None
        by_number[number] = MigrationFile(source, entry.name, text)
    return list(by_number.values())


def _invalid(why: str, hint: str | None = None) -> BuildError:
    return BuildError(f"migrations: {why}", code="F321", hint=hint)


def digest(text: str) -> str:
    """Return the checksum of a migration's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def statements(sql: str) -> list[str]:
    """Return the statements of a script, without empty ones and ones of only comments.

    Follows PostgreSQL's lexical rules (manual, section 4.1) with standard_conforming_strings on,
    and SQL-standard function bodies (begin atomic ... end).
    """
    result = []
    start = 0
    position = 0
    depth = 0
    has_code = False
    while match := TOKEN.search(sql, position):
        token = match.group().lower()
        has_code = has_code or bool(sql[position : match.start()].strip())
        position = match.end()
        if token == "/*":
            position = _skip_comment(sql, position)
        elif token.startswith("$"):
            closing = sql.find(match.group(), position)
            if closing < 0:
                position = len(sql)
            else:
                position = closing + len(token)
        elif token.startswith("begin") or (token == "case" and depth):
            depth += 1
        elif token == "end":
            depth = max(0, depth - 1)
        elif token == ";" and not depth:
            if has_code:
                result.append(sql[start : match.start()].strip())
            start = position
            has_code = False
            continue
        has_code = has_code or not token.startswith(("--", "/*"))
    if has_code or sql[position:].strip():
        result.append(sql[start:].strip())
    return result


def _skip_comment(sql: str, position: int) -> int:
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(sql, position):
        if match.group() == "/*":
            depth += 1
        else:
            depth -= 1
        if not depth:
            return match.end()
    return len(sql)
