"""The templates: string.Template without logic, read once, and the pieces that go into them."""

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


def read_template(name: str) -> str:
    """The text of a file of templates/."""
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


@cache
def _template(name: str) -> Template:
    return Template(read_template(f"{name}.tmpl"))


def render_template(name: str, values: Mapping[str, str]) -> str:
    """The text of templates/<name>.tmpl with every $word replaced."""
    return _IMPORT.sub(_fitted, _template(name).substitute(values))


def _fitted(found: re.Match[str]) -> str:
    """A long import as formatters write it, a name a line, whatever length they allow."""
    if len(found[0]) <= 88:
        return found[0]
    return f"from {found[1]} import ({block(found[2].split(', '), 0)})"


def lines(items: Iterable[str], indent: int) -> str:
    """One item a line, indented by that many spaces."""
    return "\n".join(" " * indent + item for item in items)


def block(items: Iterable[str], indent: int) -> str:
    """What stands between brackets: nothing, or one item a line with a comma."""
    found = [f"{item}," for item in items]
    return f"\n{lines(found, indent + 4)}\n{' ' * indent}" if found else ""


def wrap(items: Iterable[str]) -> str:
    """Comma separated, in lines that fit, indented by two."""
    return textwrap.fill(", ".join(items), 90, break_long_words=False).replace("\n", "\n  ")


def imports(wanted: Iterable[tuple[str, str]]) -> list[str]:
    """The import statements for these (module, name), in order."""
    modules: dict[str, set[str]] = {}
    for module, name in wanted:
        # One that is renamed has a line of its own.
        modules.setdefault(f"{module} {name}" if " as " in name else module, set()).add(name)
    return [f"from {m.split()[0]} import {', '.join(sorted(modules[m]))}" for m in sorted(modules)]


def common(resource: ResourceIR) -> dict[str, str]:
    """The names of a resource that most templates need."""
    found = {name: str(getattr(resource, name)) for name in _NAMES}
    word = resource.folder.rstrip("_")  # of a resource that is called like a word of Python
    return found | {"event": word, "label": word.replace("_", " ")}
