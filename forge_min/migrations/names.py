"""Names and literals in SQL text: quoting. Pure."""

from __future__ import annotations

import re

from ..data import files
from ..errors import BuildError
from ..parse.names import MAX_NAME

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
