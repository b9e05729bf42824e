"""From resources to the text of every generated file. Pure: no file is read but our own.

Templates hold no logic; what varies is put together here, a line at a time. A string of the user
enters Python through repr() only, and SQL as a checked identifier only. messages.pot has every text
that a project shows, the library's first (GNU gettext manual, section 3: The Format of PO Files).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from ..i18n import spoken
from ..parse import ResourceIR
from ..resources import files
from .openapi import document
from .resource import factory, resource_files
from .resource_model import shape_of
from .templating import block, lines, render_template


def render(
    resources: Sequence[ResourceIR], views: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Path below gen/ → text.

    resources: all of a project, by folder. views: its own pages in place of the library's, names →
    modules of gen/pages.
    """
    by_name = {resource.name: resource for resource in resources}
    shapes = [shape_of(resource, by_name) for resource in resources]
    found = {
        "__init__.py": render_template("project.py", {}),
        "registry.py": render_template("registry.py", _registry(resources, views or {})),
        "openapi.json": _json(document(shapes), 5, "\n") + "\n",
        "messages.pot": messages(resources),
    }
    for shape in shapes:
        files = resource_files(shape) | {"factory.py": factory(shape, by_name)}
        found |= {f"{shape.resource.folder}/{name}": text for name, text in files.items()}
    return found


_encode = json.JSONEncoder(ensure_ascii=False).encode


def _json(value: object, depth: int, margin: str) -> str:
    """Objects of the first levels with a line for each of their names; what is below on that line.

    PERF: json.dumps(indent=1) is Python to the last leaf, which was half of the time of a large
    project (benchmarks/generate.py).
    """
    if not (depth and value and isinstance(value, dict)):
        return _encode(value)
    inside = margin + " "
    names = (f"{_encode(k)}: {_json(v, depth - 1, inside)}" for k, v in value.items())
    return "{" + inside + f",{inside}".join(names) + margin + "}"


def _registry(resources: Sequence[ResourceIR], views: Mapping[str, str]) -> Mapping[str, str]:
    imports, actions, workers = [], [], []
    for r in resources:
        imports.append(f"from resources.{r.folder}.actions import {r.name}Actions")
        if r.hooks.all:
            imports.append(f"from resources.{r.folder}.jobs import WORKERS as {r.folder}_workers")
            workers.append(f"registry.add_workers({r.folder}_workers)")
        actions.append(f"routes += {r.folder}_routes(registry.add({r.name}Actions), prefix)")
    imports.append("")
    imports += [f"from .{r.folder}.routes import routes as {r.folder}_routes" for r in resources]
    if views:
        imports.append(f"from .pages import {', '.join(sorted(set(views.values())))}")
    return {
        "imports": "\n".join(imports) + "\n",
        "actions": lines(actions, 4),
        "workers": lines(workers, 4),
        "views": block((f'"{name}": {views[name]}.render' for name in sorted(views)), 0),
    }


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def messages(resources: Sequence[ResourceIR]) -> str:
    """The file's text, the same for the same schemas."""
    package = files(__package__.partition(".")[0])
    library = (package / "messages.pot").read_text(encoding="utf-8").strip()
    places: dict[str, dict[str, None]] = {}  # text → where it stands, a set in order
    for resource in resources:
        for text, line in _texts(resource):
            places.setdefault(_escaped(text), {})[f"#: {resource.source}:{line}"] = None
    parts = [library]
    for text, where in places.items():
        if f'msgid "{text}"\n' not in library:
            parts.append("\n".join([*where, f'msgid "{text}"', 'msgstr ""']))
    return "\n\n".join(parts) + "\n"


def _texts(resource: ResourceIR) -> Iterator[tuple[str, int]]:
    line = resource.span.line
    yield from ((spoken(name), line) for name in (resource.table, resource.folder))
    for member in resource.members:
        found = [member.label or spoken(member.name), member.placeholder]
        found += [member.help, *member.choices]
        yield from ((text, member.span.line) for text in found if text)
    yield from ((spoken(many.name), many.span.line) for many in resource.many)
    yield from ((spoken(column.name), line) for column in resource.columns if not column.declared)


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(c) or (c if c >= " " else f"\\{ord(c):03o}") for c in text)
