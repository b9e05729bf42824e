"""The title of a row: the checks of `title=` in a schema, and the title of a schema without one."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

from .diagnostic import problem, quote
from .ir import ColumnIR, ResourceIR
from .names import did_you_mean
from .rules import Problems

_USUAL = ("name", "title", "label", "number")  # of a field that names a row
_LINE = ("string", "slug", "email")  # types for one line of text
_DAYS = ("date", "datetime")


def title_problems(
    title: str, resource: ResourceIR, resources: Mapping[str, ResourceIR]
) -> Problems:
    """Yield the problems of a title. resources: of the project, by name."""
    try:
        parts = list(Formatter().parse(title))
    except ValueError:
        yield "title", problem("title_braces")
        return
    for _, name, form, conversion in parts:
        if form or conversion or name == "":
            yield "title", problem("title_braces")
        elif name is not None:
            relation, _, field = name.rpartition(".")
            columns = _columns(resource, relation, resources)
            if field not in columns:
                hint = did_you_mean(field, columns)
                yield "title", problem("no_field", name=quote(name), hint=hint)
            elif columns[field].type == "json":
                yield "title", problem("title_type", name=quote(name))


def _columns(
    resource: ResourceIR, relation: str, resources: Mapping[str, ResourceIR]
) -> dict[str, ColumnIR]:
    """Return the columns of a resource, or of the target of its relation; {} if it has none."""
    if relation:
        targets = {member.name: member.target for member in resource.relations}
        target = resources.get(targets.get(relation, ""))
        if target is None:
            return {}
        resource = target
    return {column.column: column for column in resource.columns}


def title_of(resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> str:
    """Return the template of the title of a resource's rows for its generated code.

    "" if a field for one line of text names them, which the actions find, and if nothing does.
    Without such a field the title is made of those of related rows, and of a day.
    """
    if resource.title or _naming_field(resource):
        return resource.title
    parts = []
    for member in resource.relations:
        if member.target in resources and not member.visible_to:
            name = _naming_field(resources[member.target])
            if name:
                parts.append(f"{{{member.name}.{name}}}")
    for field in resource.fields:
        if field.type in _DAYS and field.required:
            parts.append(f"{{{field.column}}}")
            break
    return ", ".join(parts[:3])


def _naming_field(resource: ResourceIR) -> str:
    lines = [f for f in resource.fields if f.type in _LINE and not f.visible_to]
    names = [field.column for field in lines]
    for name in _USUAL:
        if name in names:
            return name
    for field in lines:
        if field.required:
            return field.column
    return ""
