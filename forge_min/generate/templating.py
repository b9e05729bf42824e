"""Templates for string.Template, which are read once, and helpers that assemble their values."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from functools import cache
from string import Template

from ..parse import ResourceIR
from ..resources import files

_NAMES = ("name", "folder", "table", "path", "source")
_IMPORT = re.compile(r"^from (\S+) import ([\w, ]+)$", re.MULTILINE)


@cache
def _template(name: str) -> Template:
    file = files(__package__) / "templates" / f"{name}.tmpl"
    return Template(file.read_text("utf-8"))


def render_template(name: str, values: Mapping[str, str]) -> str:
    """Return the text of templates/<name>.tmpl with these values."""
    return _IMPORT.sub(_formatted, _template(name).substitute(values))


def _formatted(match: re.Match[str]) -> str:
    """Return a long import as formatters write it, with a line for each name."""
    if len(match[0]) <= 88:
        return match[0]
    return f"from {match[1]} import ({block(match[2].split(', '), 0)})"


def lines(items: Iterable[str], indent: int) -> str:
    """Return one item per line. indent: spaces before each."""
    return "\n".join(" " * indent + item for item in items)


def block(items: Iterable[str], indent: int) -> str:
    """Return the text between brackets: one item per line with a comma, or ""."""
    ended = [f"{item}," for item in items]
    if not ended:
        return ""
    return f"\n{lines(ended, indent + 4)}\n{' ' * indent}"


def wrap(items: Iterable[str]) -> str:
    """Return the items separated by commas, in lines of at most 90 characters, indented by two."""
    text = textwrap.fill(", ".join(items), 90, break_long_words=False)
    return text.replace("\n", "\n  ")


def imports(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return the sorted import statements for these pairs of module and name."""
    modules: dict[str, set[str]] = {}
    for module, name in pairs:
        if " as " in name:  # a renamed import has its own line
            module += f" {name}"
        modules.setdefault(module, set()).add(name)
    statements = []
    for key in sorted(modules):
        names = ", ".join(sorted(modules[key]))
        statements.append(f"from {key.split()[0]} import {names}")
    return statements


def common(resource: ResourceIR) -> dict[str, str]:
    """Return the names of a resource that most templates need."""
    names = {name: str(getattr(resource, name)) for name in _NAMES}
    word = resource.folder.rstrip("_")  # the folder of a keyword of Python ends with "_"
    return names | {"event": word, "label": word.replace("_", " ")}
