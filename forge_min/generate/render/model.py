"""gen/<r>/model.py: the classes of a row, and of what a write and a filter take."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Sequence

from ...parse.ir import ColumnIR
from .fill import block, imports, lines
from .shape import KINDS, MODULES, Shape, operators

_WORD = re.compile(r"[A-Za-z]+")
Items = Sequence[tuple[str, str]]  # name, type


def model(shape: Shape) -> dict[str, str]:
    """The words of the template model.py."""
    name, columns = shape.resource.name, shape.columns
    rows = [(c.attribute, KINDS[c.type].row + " | None" * c.optional) for c in columns]
    creates, updates = _given(shape, new=True), _given(shape, new=False)
    filters = [item for column in columns for item in _filters(column)]
    written = " ".join(kind for _, kind in [*rows, *creates, *updates, *filters])
    named, needed = _types(set(_WORD.findall(written)), {c.attribute for c in columns})
    makers = {"datetime": "iso_utc", "uuid": "uuid_text"}
    if used := sorted({makers[c.type] for c in columns if c.type in makers}):
        needed += ["", f"from forge_min.actions import {', '.join(used)}"]
    return {
        "imports": "\n".join(needed) + "\n",
        "attributes": lines((f"{attribute}: {named(kind)}" for attribute, kind in rows), 4),
        "create": _dict(name + "Create", "What a create takes.", creates, named),
        "update": _dict(name + "Update", "What an update takes.", updates, named),
        "filters": block((f'"{key}": {named(kind)}' for key, kind in filters), 4),
        "items": lines((f'"{c.column}": {_json_item(c)},' for c in columns), 8),
    }


def _given(shape: Shape, *, new: bool) -> Items:
    """What the data of a create (new) or of an update may have, each with its type."""
    found = []
    for column in shape.written:
        if new or not column.immutable:
            null = not column.required and column.type != "json"
            kind = KINDS[column.type].given + " | None" * null
            found.append((column.column, f"Required[{kind}]" if new and column.needed else kind))
    for link in shape.across:
        found.append((link.field, f"Sequence[{KINDS[link.target.key.type].given}]"))
    return found


def _filters(column: ColumnIR) -> Items:
    """The keys of the URL language for one column, each with the type of its value."""
    given = KINDS[column.type].given
    kinds = {"in": f"Sequence[{given}]", "contains": "str", "is_null": "bool"}
    found = [(column.column, given)] * column.filterable
    for operator in operators(column):
        found.append((f"{column.column}[{operator}]", kinds.get(operator, given)))
    return found


def _types(words: set[str], taken: set[str]) -> tuple[Callable[[str], str], list[str]]:
    """What puts the types' names into an annotation, and their imports.

    A type that a column is called like has a capital there (Date, Str), which no column has.
    """
    names = {word: word.capitalize() if word in taken else word for word in words - {"None"}}
    wanted = [("dataclasses", "dataclass"), ("typing", "TypedDict")]
    for word, name in names.items():
        if word in taken or word in MODULES:
            shown = f"{word} as {name}" if word in taken else word
            wanted.append((MODULES.get(word, "builtins"), shown))

    def named(kind: str) -> str:
        return _WORD.sub(lambda found: names.get(found[0], found[0]), kind)

    return named, imports(wanted)


def _dict(name: str, doc: str, items: Items, named: Callable[[str], str]) -> str:
    """A TypedDict; as a call where a key is a word of Python."""
    if any(keyword.iskeyword(key) for key, _ in items):
        inside = block((f'"{key}": {named(kind)}' for key, kind in items), 4)
        return f'{name} = TypedDict(\n    "{name}",\n    {{{inside}}},\n    total=False,\n)'
    inside = "\n\n" + lines((f"{key}: {named(kind)}" for key, kind in items), 4) if items else ""
    return f'class {name}(TypedDict, total=False):\n    """{doc}"""{inside}'


def _json_item(column: ColumnIR) -> str:
    value = f"row.{column.attribute}"
    shown = KINDS[column.type].json.format(value)
    return f"None if {value} is None else {shown}" if column.optional and shown != value else shown
