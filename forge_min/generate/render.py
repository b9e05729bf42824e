"""Returns the text of every generated file; reads no files except the package's templates.

Templates have no logic: their values are assembled here, line by line. A string of the user enters
Python only through repr(), and SQL only as a checked identifier. messages.pot has all texts that a
project shows, the library's first (GNU gettext manual, section 3: The Format of PO Files).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from ..i18n import humanize
from ..parse import ResourceIR, name_of
from ..resources import files
from .openapi import document
from .resource import factory, resource_files
from .resource_model import shape_of
from .templating import block, lines, render_template


def render(resources: Sequence[ResourceIR], views: Mapping[str, str]) -> dict[str, str]:
    """Return the text of every file by its path below gen/.

    resources: all of a project, sorted by folder.
    views: modules of gen/pages by the names of the library's pages that they replace.
    """
    by_name = {resource.name: resource for resource in resources}
    shapes = [shape_of(resource, by_name) for resource in resources]
    result = {
        "__init__.py": render_template("project.py", {}),
        "registry.py": render_template("registry.py", _registry(resources, views)),
        "openapi.json": _json(document(shapes), 5, "\n") + "\n",
        "messages.pot": messages(resources),
    }
    for shape in shapes:
        files = resource_files(shape) | {"factory.py": factory(shape, by_name)}
        result |= {f"{shape.resource.folder}/{name}": text for name, text in files.items()}
    return result


_encode = json.JSONEncoder(ensure_ascii=False).encode


def _json(value: object, depth: int, margin: str) -> str:
    """Return JSON with a line for each name of objects in the first `depth` levels.

    PERF: json.dumps(indent=1) encodes every leaf in Python, which took half of the time for a large
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
    """Return the text of messages.pot, which is the same for the same schemas."""
    package = files(__package__.partition(".")[0])
    library = (package / "messages.pot").read_text(encoding="utf-8").strip()
    references: dict[str, dict[str, None]] = {}  # by text; the values are ordered sets
    for resource in resources:
        for text in filter(None, _texts(resource)):
            references.setdefault(_escaped(text), {})[f"#: {resource.source}"] = None
    parts = [library]
    for text, where in references.items():
        if f'msgid "{text}"\n' not in library:
            parts.append("\n".join([*where, f'msgid "{text}"', 'msgstr ""']))
    return "\n\n".join(parts) + "\n"


def _texts(resource: ResourceIR) -> Iterator[str]:
    """Yield the texts that a resource shows; "" for those that its schema omits."""
    yield humanize(resource.table)
    yield humanize(resource.folder)
    for member in resource.members:
        yield member.label or humanize(member.name)
        yield from (member.placeholder, member.help, *member.choices)
    yield from (humanize(report.name) for report in resource.reports)
    yield from (rule.message for rule in resource.uniques)
    yield from (check.message for check in resource.checks)
    yield from (humanize(verb) for states in resource.states for verb in states.verbs)
    yield from (humanize(name_of(many)) for many in resource.many)
    yield from (humanize(column.name) for column in resource.columns if not column.declared)


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(c) or (c if c >= " " else f"\\{ord(c):03o}") for c in text)
