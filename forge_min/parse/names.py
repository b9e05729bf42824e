"""Which names may be used, and the names that follow from others: folder, table, path."""

from __future__ import annotations

import difflib
import hashlib
import keyword
import re
from collections.abc import Iterable

from .. import schema
from .diagnostic import Problem, problem, quote
from .ir import attribute_of

MAX_NAME = 63  # bytes: NAMEDATALEN - 1, PostgreSQL manual, section 4.1.1
# Of forge_min, and of PostgreSQL (manual, section 5.6): names that no declared column may have.
RESERVED_COLUMNS = frozenset(
    ("id", "version", "created_at", "updated_at", "deleted_at", "tenant_id")
    + ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")
)
# Query parameters of a list; a filter of the same name could never be told from them.
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
    if (column, kind) == ("tenant", "key"):
        kind = "unique"  # the other name is that of the key with the tenant
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


def word_problem(name: str, what: str, ours: tuple[str, ...] = ("forge_",)) -> Problem | None:
    """Why `name` is none in lower case that PostgreSQL can keep; None if it is.

    what: it names. ours: how it may not begin.
    """
    found = "not_yours" if name.startswith(ours) else ""
    found = "too_long" if len(name) > MAX_NAME else found
    found = found if _SNAKE.fullmatch(name) else "not_lower"
    return problem(found, what=what, name=quote(name), most=MAX_NAME) if found else None


def table_problem(table: str, what: str = "the table name") -> Problem | None:
    """Why `table` may not name a table; None if it may.

    A table pg_x could never be read: PostgreSQL looks for it in its own catalog first.
    """
    return word_problem(table, what, ("forge_", "pg_"))


def field_problem(name: str, suffix: str = "", free: str = "") -> Problem | None:
    """Why `name` may not name a field, None if it may.

    suffix: "_id" for a relation's column. free: a reserved name that is allowed: "id" for a key.
    """
    column = name + suffix
    bad = word_problem(column, "the column" if suffix else "the name")
    taken = column in RESERVED_COLUMNS - {free}
    return problem("reserved_column", name=column) if taken and not bad else bad


def class_problem(name: str, code: str, what: str) -> Problem | None:
    """Why `name` may not name a class in generated code; None if it may. what: it names."""
    taken = keyword.iskeyword(name) or name == "WORKERS"
    if _PASCAL.fullmatch(name) and len(name) <= MAX_NAME and not taken:
        return None
    return problem("not_class", code=code, what=what, name=quote(name), most=MAX_NAME)


def resource_problem(name: str) -> Problem | None:
    """Why `name` may not name a resource; None if it may."""
    bad, folder = class_problem(name, "F112", "the resource name"), snake(name)
    taken = folder in RESERVED_FOLDERS or folder.startswith("forge_")
    return problem("reserved_resource", name=name) if taken and not bad else bad


def label_problem(name: str, code: str, what: str) -> Problem | None:
    """Why `name` may not name a queue or a role, None if it may. what: of the two it is."""
    if _LABEL.fullmatch(name) and len(name) <= MAX_NAME:
        return None
    return problem("not_label", code=code, what=what, name=quote(name))
