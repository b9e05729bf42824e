"""Rules for names, and names derived from others: folder, table, path."""

from __future__ import annotations

import difflib
import hashlib
import keyword
import re
from collections.abc import Iterable

from .. import schema
from .diagnostic import SchemaProblem, problem, quote
from .ir import attribute_of

MAX_NAME = 63  # bytes: NAMEDATALEN - 1, PostgreSQL manual, section 4.1.1
# Columns of forge_min and PostgreSQL (manual, section 5.6); not allowed in a schema.
RESERVED_COLUMNS = frozenset(
    ("id", "version", "created_at", "updated_at", "deleted_at", "tenant_id")
    + ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")
)
# Query parameters of a list; a filter of the same name would be ambiguous.
LIST_PARAMETERS = frozenset({"limit", "cursor", "sort", "q", "page", "per_page", "include"})
RESERVED_PATHS = frozenset({"account", "api", "events", "static", "t"})
RESERVED_FOLDERS = frozenset({"pages", "registry"})

_SNAKE = re.compile(r"[a-z][a-z0-9_]*")
_PASCAL = re.compile(r"[A-Z][A-Za-z0-9]*")
_LABEL = re.compile(r"[a-z][a-z0-9_-]*")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake(name: str) -> str:
    """BoardingPass → boarding_pass, HTTPServer → http_server."""
    return _WORD_START.sub("_", name).lower()


def plural(word: str) -> str:
    """country → countries, day → days, bus → buses, airport → airports."""
    if word.endswith("y") and word[-2:-1] not in tuple("aeiou"):
        return word[:-1] + "ies"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word + "s"


def table_of(resource: schema.ResourceSchema) -> str:
    """Return the resource's table: its `plural`, or the plural by rule."""
    return resource.plural or plural(snake(resource.name))


def name_of(part: schema.BelongsTo | schema.Many) -> str:
    """Return the relation's name: the declared one, or the one by rule."""
    if part.name is not None:
        return part.name
    word = snake(part.target)
    if isinstance(part, schema.Many) and part.kind != "has_one":
        return plural(word)
    return word


def folder_of(name: str) -> str:
    """Return a resource's folder and package: BoardingPass → boarding_pass, Class → class_."""
    return attribute_of(snake(name))


def kebab(table: str) -> str:
    """Return the URL path of a table: boarding_passes → boarding-passes."""
    return table.replace("_", "-")


def constraint_name(table: str, column: str, kind: str) -> str:
    """Return the name of a table's constraint or index: airports_code_key.

    A name of more than MAX_NAME bytes is cut and gets a hash of the full name.

    column: the column, or "" for the table.
    kind: of a column "key" (unique), "fkey", "check" (choices of an enum), "min", "max", "min_len",
        "max_len", "rule" (schema.check), "idx" or "trgm" (trigram index); of a table "pkey",
        "search" (index), "tenant" (policy and view) or "tenant_key" (unique).
    """
    if (column, kind) == ("tenant", "key"):
        kind = "unique"  # "tenant_key" is the name of the table's key with the tenant
    name = "_".join(part for part in (table, column, kind) if part)
    if len(name.encode()) <= MAX_NAME:
        return name
    suffix = f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}_{kind}"
    prefix = name.encode()[: MAX_NAME - len(suffix)]
    return prefix.decode("utf-8", "ignore") + suffix


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint with the most similar of `known`, or with all if no one is similar."""
    names = sorted(set(known))
    if not names:
        return ""
    close = difflib.get_close_matches(word[:100], names, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return "known: " + ", ".join(names)


def unknown(entry: str, name: str, known: Iterable[str]) -> SchemaProblem:
    """Return the problem of a name that is not among `known`.

    entry: of messages.toml, with {name} and {hint}.
    """
    return problem(entry, name=quote(name), hint=did_you_mean(name, known))


def word_problem(name: str, what: str, reserved: str = "forge_") -> SchemaProblem | None:
    """Return the problem of a name that is not a lower-case identifier of PostgreSQL, else None.

    what: the thing that it names, for the message.
    reserved: a prefix that is not allowed, besides "forge_".
    """
    if not _SNAKE.fullmatch(name):
        entry = "not_lower"
    elif len(name) > MAX_NAME:
        entry = "too_long"
    elif name.startswith(("forge_", reserved)):
        entry = "not_yours"
    else:
        return None
    return problem(entry, what=what, name=quote(name), most=MAX_NAME)


def table_problem(table: str, what: str = "the table name") -> SchemaProblem | None:
    """Return the problem of a table name, None if it is valid.

    A table pg_x could not be read: PostgreSQL searches its catalog first.
    """
    return word_problem(table, what, "pg_")


def field_problem(name: str, suffix: str = "", free: str = "") -> SchemaProblem | None:
    """Return the problem of a field's name, None if it is valid.

    suffix: "_id" for a relation's column.
    free: a reserved name that is allowed here: "id" for a key.
    """
    column = name + suffix
    if column in RESERVED_COLUMNS - {free}:
        return problem("reserved_column", name=column)
    return word_problem(column, "the column" if suffix else "the name")


def class_problem(name: str, what: str) -> SchemaProblem | None:
    """Return the problem of a name for a class in generated code, None if it is valid.

    what: the thing that it names, for the message.
    """
    is_taken = keyword.iskeyword(name) or name == "WORKERS"
    if _PASCAL.fullmatch(name) and len(name) <= MAX_NAME and not is_taken:
        return None
    return problem("not_class", what=what, name=quote(name), most=MAX_NAME)


def resource_problem(name: str) -> SchemaProblem | None:
    """Return the problem of a resource's name, None if it is valid."""
    invalid = class_problem(name, "the resource name")
    if invalid:
        return invalid
    folder = snake(name)
    if folder in RESERVED_FOLDERS or folder.startswith("forge_"):
        return problem("reserved_resource", name=name)
    return None


def label_problem(name: str, what: str) -> SchemaProblem | None:
    """Return the problem of the name of a queue or role, None if it is valid.

    what: the thing that it names, for the message.
    """
    if _LABEL.fullmatch(name) and len(name) <= MAX_NAME:
        return None
    return problem("not_label", what=what, name=quote(name))
