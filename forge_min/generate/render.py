"""IR → the text of every generated and scaffolded file. Pure: no file is read but our own
templates.

Templates hold no logic; what varies is put together here, a line at a time. A string of the user
enters Python through repr() only, and SQL as a checked identifier only.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from string import Template

from ..parse.ir import FieldIR, JobRefIR, RelationIR, ResourceIR
from . import openapi
from .names import constraints_of

_PYTHON_TYPES = {
    "uuid": "UUID",
    "string": "str",
    "text": "str",
    "enum": "str",
    "int": "int",
    "decimal": "Decimal",
    "bool": "bool",
    "datetime": "datetime",
    "date": "date",
}
_MODULES = {"UUID": "uuid", "Decimal": "decimal", "date": "datetime", "datetime": "datetime"}
_ARRAY_TYPES = {
    "uuid": "uuid",
    "string": "text",
    "text": "text",
    "enum": "text",
    "int": "integer",
    "decimal": "numeric",
    "bool": "boolean",
    "datetime": "timestamptz",
    "date": "date",
}


def render_resource(resource: ResourceIR, resources: Mapping[str, ResourceIR]) -> dict[str, str]:
    """Path below gen/ → text, for one resource. resources: all of them by name."""
    common = _common(resource)
    parts = {
        "__init__.py": _fill("package.py", common),
        "model.py": _fill("model.py", common | _model(resource)),
        "sql.py": _fill("sql.py", common | _sql(resource)),
        "resource.py": _fill("resource.py", common | _resource(resource)),
        "actions.py": _fill("actions.py", common),
        "routes.py": _fill("routes.py", common),
    }
    return {f"{resource.folder}/{name}": text for name, text in parts.items()}


def render_project(resources: Sequence[ResourceIR]) -> dict[str, str]:
    """Path below gen/ → text, for what all resources share."""
    contract = json.dumps(openapi.document(resources), indent=1, ensure_ascii=False) + "\n"
    return {
        "__init__.py": _fill("project.py", {}),
        "registry.py": _fill("registry.py", _registry(resources)),
        "openapi.json": contract,
    }


def scaffold_files(resource: ResourceIR) -> dict[str, str]:
    """Path below the project → text of the files that are written once and then belong to the
    user.
    """
    folder = f"resources/{resource.folder}"
    found = {f"{folder}/actions.py": _fill("user_actions.py", _common(resource))}
    if resource.hooks.all:
        found[f"{folder}/jobs.py"] = _fill("user_jobs.py", _common(resource) | _jobs(resource))
    return found


_PROJECT = {
    ".gitignore": "gitignore",
    "README.md": "readme",
    "app.py": "app.py",
    "forge.toml": "forge.toml",
    "resources/item/schema.py": "schema.py",
    "views/home.html": "home.html",
    "views/item.html": "item.html",
}


def project_files(name: str) -> dict[str, str]:
    """Path below the project → text, of a new project: one resource and one live page."""
    return {path: _fill(f"init/{file}", {"name": name}) for path, file in _PROJECT.items()}


def _fill(name: str, values: Mapping[str, str]) -> str:
    text = (files(__package__) / "templates" / f"{name}.tmpl").read_text(encoding="utf-8")
    return Template(text).substitute(values)


def _common(resource: ResourceIR) -> dict[str, str]:
    return {
        "name": resource.name,
        "label": resource.folder.replace("_", " "),
        "folder": resource.folder,
        "table": resource.table,
        "path": resource.path,
        "source": resource.source,
    }


# -- model.py --------------------------------------------------------------------------------------


def _columns(resource: ResourceIR) -> list[tuple[str, str, bool]]:
    """(name, type, nullable) of every column, in table order."""
    found = [("id", "uuid", False)]
    for member in resource.members:
        kind = member.type if isinstance(member, FieldIR) else "uuid"
        found.append((member.column, kind, not member.required))
    found.append(("version", "int", False))
    if resource.timestamps:
        found += [("created_at", "datetime", False), ("updated_at", "datetime", False)]
    return found


def _model(resource: ResourceIR) -> dict[str, str]:
    columns = _columns(resource)
    types, imports = _types(columns)
    if any(kind == "datetime" for _, kind, _ in columns):
        imports += ["", "from forge_min.actions import iso_utc"]
    attributes = [
        f"    {name}: {types[_PYTHON_TYPES[kind]]}{' | None' if nullable else ''}"
        for name, kind, nullable in columns
    ]
    items = [f'        "{name}": {_json_item(name, kind, null)},' for name, kind, null in columns]
    return {
        "imports": "\n".join(imports) + "\n",
        "attributes": "\n".join(attributes),
        "items": "\n".join(items),
    }


def _types(columns: Sequence[tuple[str, str, bool]]) -> tuple[dict[str, str], list[str]]:
    """Type → its name in the class body, and the imports of the types.

    A type that a column is called like has a capital there (Date, Str), which no column has.
    """
    taken = {name for name, _, _ in columns}
    types: dict[str, str] = {}
    imports: dict[str, list[str]] = {}
    for name in sorted({_PYTHON_TYPES[kind] for _, kind, _ in columns}):
        types[name] = name.capitalize() if name in taken else name
        if name in taken or name in _MODULES:
            wanted = f"{name} as {types[name]}" if name in taken else name
            imports.setdefault(_MODULES.get(name, "builtins"), []).append(wanted)
    lines = [f"from {module} import {', '.join(names)}" for module, names in imports.items()]
    return types, sorted(lines)


def _json_item(name: str, kind: str, nullable: bool) -> str:
    value = f"row.{name}"
    if kind in ("uuid", "decimal", "date"):
        converted = f"str({value})"
    elif kind == "datetime":
        converted = f"iso_utc({value})"
    else:
        return value
    return f"None if {value} is None else {converted}" if nullable else converted


# -- sql.py ----------------------------------------------------------------------------------------


def _sql(resource: ResourceIR) -> dict[str, str]:
    written = [("id", "uuid"), *((m.column, _array_type(m)) for m in resource.members)]
    return {
        "columns": _wrap(f'"{c}"' for c in resource.columns),
        "insert_columns": _wrap(f'"{name}"' for name, _ in written),
        "insert_values": _wrap(f"%({name})s" for name, _ in written),
        "insert_arrays": ",\n  ".join(f"%({name})s::{kind}[]" for name, kind in written),
    }


def _wrap(items: Iterable[str]) -> str:
    """Comma separated, in lines that fit."""
    return textwrap.fill(", ".join(items), 90, break_long_words=False).replace("\n", "\n  ")


def _array_type(member: FieldIR | RelationIR) -> str:
    return _ARRAY_TYPES[member.type] if isinstance(member, FieldIR) else "uuid"


# -- resource.py -----------------------------------------------------------------------------------


def _resource(resource: ResourceIR) -> dict[str, str]:
    columns = [
        _column_item(name, kind, nullable, resource) for name, kind, nullable in _columns(resource)
    ]
    constraints = constraints_of(resource)
    return {
        "checks": "\n".join(f"    {_check_line(m)}" for m in resource.members),
        "column_items": "\n".join(f"        {line}," for line in columns),
        "constraints": "\n".join(f"        {k!r}: {v!r}," for k, v in constraints.items()),
        "timestamps": repr(resource.timestamps),
        "hook_import": " JobHook," if resource.hooks.all else "",
        "after_create": _hooks(resource.hooks.after_create),
        "after_update": _hooks(resource.hooks.after_update),
        "after_delete": _hooks(resource.hooks.after_delete),
    }


def _column_item(name: str, kind: str, nullable: bool, resource: ResourceIR) -> str:
    kind = "bigint" if name == "version" else kind
    arguments = [f'"{name}"', f'"{kind}"']
    if not nullable:
        arguments.append("nullable=False")
    member = next((m for m in resource.members if m.column == name), None)
    if member is None or isinstance(member, RelationIR):
        listed = sorted_by = True
        choices: tuple[str, ...] = ()
    else:
        listed, sorted_by, choices = member.filterable, member.sortable, member.choices
    if listed and name != "version":
        arguments.append("filterable=True")
    if sorted_by and name != "version" and not isinstance(member, RelationIR):
        arguments.append("sortable=True")
    if choices:
        arguments.append(f"choices={choices!r}")
    return f"Column({', '.join(arguments)})"


def _check_line(member: FieldIR | RelationIR) -> str:
    rules: dict[str, object] = {}
    if isinstance(member, RelationIR):
        kind, arguments = "uuid", [f'"{member.column}"']
    else:
        kind, arguments = member.type, [f'"{member.name}"']
        if member.choices:
            arguments.append(repr(member.choices))
        for rule in ("precision", "min", "max", "min_len", "max_len"):
            if (value := getattr(member, rule)) is not None:
                rules[rule] = value
        if member.has_default:
            rules["default"] = member.default
    if member.required:
        rules["required"] = True
    arguments += [f"{name}={value!r}" for name, value in rules.items()]
    return f"c.{kind}({', '.join(arguments)})"


def _hooks(hooks: Sequence[JobRefIR]) -> str:
    return "".join(
        f"\n        JobHook({h.kind!r}, {h.queue!r}, {h.priority}, {h.max_attempts!r}, {h.delay}),"
        for h in hooks
    ) + ("\n    " if hooks else "")


# -- what all resources share ----------------------------------------------------------------------


def _registry(resources: Sequence[ResourceIR]) -> dict[str, str]:
    imports, actions, workers = [], [], []
    for r in resources:
        imports.append(f"from resources.{r.folder}.actions import {r.name}Actions")
        if r.hooks.all:
            imports.append(f"from resources.{r.folder}.jobs import WORKERS as {r.folder}_workers")
            workers.append(f"    registry.add_workers({r.folder}_workers)")
        actions.append(f"    routes += {r.folder}_routes(registry.add({r.name}Actions), prefix)")
    imports += [""] + [
        f"from .{r.folder}.routes import routes as {r.folder}_routes" for r in resources
    ]
    return {
        "imports": "\n".join(imports) + "\n",
        "actions": "\n".join(actions),
        "workers": "\n".join(workers),
    }


def _jobs(resource: ResourceIR) -> dict[str, str]:
    hooks: dict[str, list[str]] = {}
    for hook in ("after_create", "after_update", "after_delete"):
        for job in getattr(resource.hooks, hook):
            hooks.setdefault(job.kind, []).append(hook)
    classes = [
        _fill(
            "user_worker.py",
            {"kind": kind, "hooks": " and ".join(dict.fromkeys(where)), "name": resource.name},
        )
        for kind, where in hooks.items()
    ]
    return {"classes": "\n".join(classes), "kinds": ", ".join(hooks)}
