"""Which names may be used, and the names that follow from others: folder, table, path."""

from __future__ import annotations

import difflib
import hashlib
import keyword
import re
from collections.abc import Iterable
from typing import NamedTuple

from .. import schema
from .diagnostic import quote
from .ir import attribute_of

MAX_NAME = 63  # bytes: NAMEDATALEN - 1, PostgreSQL manual, section 4.1.1
RESERVED_COLUMNS = frozenset({"id", "version", "created_at", "updated_at", "deleted_at"}) | {
    "tenant_id"
}
# PostgreSQL manual, section 5.6: names that no column may have.
SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
# Query parameters of a list; a filter of the same name could never be told from them.
LIST_PARAMETERS = frozenset({"limit", "cursor", "sort", "q", "page", "per_page", "include"})
RESERVED_PATHS = frozenset({"api", "events", "static"})
RESERVED_FOLDERS = frozenset({"pages", "registry"})

_SNAKE = re.compile(r"[a-z][a-z0-9_]*")
_PASCAL = re.compile(r"[A-Z][A-Za-z0-9]*")
_LABEL = re.compile(r"[a-z][a-z0-9_-]*")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Problem(NamedTuple):
    """What is wrong with a name. hint may be ""."""

    code: str
    message: str
    hint: str


def snake(name: str) -> str:
    """BoardingPass → boarding_pass, HTTPServer → http_server."""
    return _WORD_START.sub("_", name).lower()


def plural(word: str) -> str:
    """country → countries, day → days, bus → buses, airport → airports."""
    if word.endswith("y") and word[-2:-1] not in tuple("aeiou"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def table_of(resource: schema.Resource) -> str:
    """The resource's table: the plural that it gives, or the rule's."""
    return resource.plural or plural(snake(resource.name))


def name_of(part: schema.BelongsTo | schema.Many) -> str:
    """The relation's name: the one that it gives, or the rule's."""
    word = snake(part.target)
    if part.name is not None:
        return part.name
    return word if isinstance(part, schema.BelongsTo) or part.kind == "has_one" else plural(word)


def folder_of(name: str) -> str:
    """The folder and package of a resource: BoardingPass → boarding_pass, Class → class_."""
    return attribute_of(snake(name))


def kebab(table: str) -> str:
    """The path of a table: boarding_passes → boarding-passes."""
    return table.replace("_", "-")


def constraint_name(table: str, column: str, kind: str) -> str:
    """The name of a table's constraint or index: airports_code_key.

    kind: "key" (unique), "fkey", "check" (the choices of an enum), "min", "max", "min_len",
    "max_len" or "idx"; where column is "": "pkey", "search" (index), "tenant" (policy and view),
    "tenant_key" (unique). Always the same for the same arguments; one of more than MAX_NAME bytes
    is cut and gets a hash of the whole.
    """
    name = "_".join(part for part in (table, column, kind) if part)
    if len(name.encode()) <= MAX_NAME:
        return name
    mark = f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}_{kind}"
    kept = name.encode()[: MAX_NAME - len(mark)]
    return kept.decode("utf-8", "ignore") + mark


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest of `known`, or all of them when none is near."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word[:100], names, n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return "known: " + ", ".join(names) if names else ""


def word_problem(name: str, what: str) -> Problem | None:
    """Why `name` is none in lower case that PostgreSQL can keep; None if it is. what: it names."""
    if not _SNAKE.fullmatch(name):
        message = f"{what} {quote(name)} is not a lower-case identifier (a-z, 0-9, _)"
        return Problem("F120", message, "for example seat_count")
    if len(name) > MAX_NAME:
        message = f"{what} {quote(name)} is longer than {MAX_NAME} bytes"
        return Problem("F123", message, "PostgreSQL would cut it off: choose a shorter one")
    if name.startswith("forge_"):
        return Problem("F121", f"{what} {quote(name)} is reserved", '"forge_" begins our own')
    return None


def field_problem(name: str, suffix: str = "", free: str = "") -> Problem | None:
    """Why `name` may not name a field, None if it may.

    suffix: "_id" for a relation's column. free: a reserved name that is allowed: "id" for a key.
    """
    column = name + suffix
    problem = word_problem(column, "the column" if suffix else "the name")
    if problem:
        return problem
    if column in RESERVED_COLUMNS | SYSTEM_COLUMNS and column != free:
        hint = "forge_min or PostgreSQL has such a column already: choose another"
        return Problem("F121", f'"{column}" is reserved', hint)
    return None


def table_problem(table: str) -> Problem | None:
    """Why `table` may not name a table; None if it may."""
    problem = word_problem(table, "the table name")
    if problem is None and kebab(table) in RESERVED_PATHS:
        message = f'the table name "{table}" would take the address /{kebab(table)}'
        return Problem("F121", message, f'choose another: plural="our_{table}"')
    return problem


def _class_problem(name: str, code: str, what: str) -> Problem | None:
    if _PASCAL.fullmatch(name) and len(name) <= MAX_NAME and not keyword.iskeyword(name):
        return None
    message = f"{what} {quote(name)} is not a class name of at most {MAX_NAME} letters and digits"
    return Problem(code, message, 'for example "BoardingPass"')


def resource_problem(name: str) -> Problem | None:
    """Why `name` may not name a resource; None if it may."""
    problem, folder = _class_problem(name, "F112", "the resource name"), snake(name)
    if problem is None and (folder in RESERVED_FOLDERS or folder.startswith("forge_")):
        return Problem("F121", f'the resource name "{name}" is reserved', f'try "{name}Item"')
    return problem


def kind_problem(kind: str) -> Problem | None:
    """Why `kind` may not be a job's kind, which is the name of its worker class; None if it may."""
    return _class_problem(kind, "F131", "the job kind")


def label_problem(name: str, code: str, what: str) -> Problem | None:
    """Why `name` may not name a queue or a role, None if it may. what: of the two it is."""
    if _LABEL.fullmatch(name) and len(name) <= MAX_NAME:
        return None
    message = f"{what} {quote(name)} is not of a-z, 0-9, _ and -, a letter first"
    return Problem(code, message, 'for example "sales-team"')
