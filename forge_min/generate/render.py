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
        modules = resource_files(shape)
        modules["factory.py"] = factory(shape, by_name)
        for name, text in modules.items():
            result[f"{shape.resource.folder}/{name}"] = text
    return result


_encode = json.JSONEncoder(ensure_ascii=False).encode


def _json(value: object, depth: int, margin: str) -> str:
    """Return JSON with a line for each name of objects in the first `depth` levels.

    PERF: json.dumps(indent=1) encodes every leaf in Python, which took half of the time for a large
    project (benchmarks/generate.py).
    """
    if not depth or not value or not isinstance(value, dict):
        return _encode(value)
    inside = margin + " "
    members = []
    for name, member in value.items():
        members.append(f"{_encode(name)}: {_json(member, depth - 1, inside)}")
    text = f",{inside}".join(members)
    return f"{{{inside}{text}{margin}}}"


def _registry(resources: Sequence[ResourceIR], views: Mapping[str, str]) -> Mapping[str, str]:
    imports = []
    actions = []
    workers = []
    routes = []
    for resource in resources:
        name = resource.name
        folder = resource.folder
        imports.append(f"from resources.{folder}.actions import {name}Actions")
        if resource.hooks.all:
            imports.append(f"from resources.{folder}.jobs import WORKERS as {folder}_workers")
            workers.append(f"registry.add_workers({folder}_workers)")
        actions.append(f"routes += {folder}_routes(registry.add({name}Actions), prefix)")
        routes.append(f"from .{folder}.routes import routes as {folder}_routes")
    imports += ["", *routes]
    if views:
        modules = sorted(set(views.values()))
        imports.append(f"from .pages import {', '.join(modules)}")
    pages = [f'"{name}": {module}.render' for name, module in sorted(views.items())]
    return {
        "imports": "\n".join(imports) + "\n",
        "actions": lines(actions, 4),
        "workers": lines(workers, 4),
        "views": block(pages, 0),
    }


_ESCAPES = {code: f"\\{code:03o}" for code in range(32)}
_ESCAPES |= str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"})


def messages(resources: Sequence[ResourceIR]) -> str:
    """Return the text of messages.pot, which is the same for the same schemas."""
    package = files(__package__.partition(".")[0])
    library = (package / "messages.pot").read_text(encoding="utf-8").strip()
    references: dict[str, dict[str, None]] = {}  # by text; the values are ordered sets
    for resource in resources:
        for text in _texts(resource):
            if text:
                escaped = text.translate(_ESCAPES)
                references.setdefault(escaped, {})[f"#: {resource.source}"] = None
    parts = [library]
    for text, sources in references.items():
        message = f'msgid "{text}"\n'
        if message not in library:
            parts.append("\n".join(sources) + f'\n{message}msgstr ""')
    return "\n\n".join(parts) + "\n"


def _texts(resource: ResourceIR) -> Iterator[str]:
    """Yield the texts that a resource shows; "" for those that its schema omits."""
    yield humanize(resource.table)
    yield humanize(resource.folder)
    for member in resource.members:
        yield member.label or humanize(member.name)
        yield member.placeholder
        yield member.help
        yield from member.choices
    for report in resource.reports:
        yield humanize(report.name)
    for rule in resource.uniques:
        yield rule.message
    for check in resource.checks:
        yield check.message
    for states in resource.states:
        yield from map(humanize, states.verbs)
    for many in resource.many:
        yield humanize(name_of(many))
    for column in resource.columns:
        if not column.declared:
            yield humanize(column.name)
