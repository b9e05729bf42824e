"""IR → the OpenAPI 3.1 description of the generated routes. Paths stand without the prefix;
start-up adds it, and the schemas Problem and Pagination.

The template has every operation with all that it may answer; here goes what a resource has not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from .fill import common, fill
from .schemas import Json, component, input_schema, ref, row_schema, value_schema
from .shape import KINDS, Shape, operators

_OPERATIONS = {"list": "read", "get": "read", "audit": "read", "replace": "update"}
_WHERE = {"restore": "soft_delete", "audit": "auditable"}


def document(shapes: Sequence[Shape]) -> Json:
    """paths and components of every resource, in a stable order."""
    paths: Json = {}
    schemas: Json = {}
    for shape in shapes:
        paths |= _paths(shape)
        schemas[component(shape)] = row_schema(shape)
        schemas[component(shape, "Input")] = input_schema(shape)
        schemas[component(shape, "Patch")] = input_schema(shape, partial=True)
    return {"paths": paths, "components": {"schemas": schemas}}


def _paths(shape: Shape) -> Json:
    words = {
        "row": component(shape),
        "input": component(shape, "Input"),
        "patch": component(shape, "Patch"),
        "sorts": ", ".join(column.column for column in shape.columns if column.sortable),
        "searched": ", ".join(field.name for field in shape.resource.searchable),
        "relations": ", ".join(link.name for link in shape.links),
        "sort_pattern": _listed("-?", [c.column for c in shape.columns if c.sortable]),
        "include_pattern": "^$|" + _listed("", [link.name for link in shape.links]),
    }
    template: Json = json.loads(fill("openapi.json", common(shape.resource) | words))
    key = {"name": "id", "in": "path", "required": True, "schema": value_schema(shape.columns[0])}
    found: Json = {}
    for path, item in template["paths"].items():
        if getattr(shape.resource, _WHERE.get(path.rpartition("/")[2], "name")):
            found[path] = {"parameters": [key]} if "{id}" in path else {}
            for method, operation in item.items():
                found[path][method] = _completed(shape, operation, template["problems"])
    found[f"/{shape.resource.path}"]["get"]["parameters"] += _filters(shape)
    return found


def _listed(before: str, names: Sequence[str]) -> str:
    """What a comma separated list of these looks like."""
    one = f"{before}({'|'.join(names)})"
    return f"^{one}(,{one})*$"


def _completed(shape: Shape, operation: Json, problems: dict[str, str]) -> Json:
    r, verb = shape.resource, operation["operationId"].rpartition(".")[2]
    asked = _OPERATIONS.get(verb, verb)
    gone = set() if r.versioned else {"428"}
    roles = {p.operation: set(p.roles) for p in r.permissions}
    is_open = not roles.keys() - {"audit"} or "anybody" in roles.get(asked, ())
    if verb == "audit":  # closed to anonymous users, unless its own permission opens it
        is_open = "anybody" in roles.get("audit", ())
    if not r.tenant_scoped and is_open:
        gone |= {"401", "403"}
    without = {"q": not r.searchable, "include": not shape.links}
    parameters = [p for p in operation.pop("parameters", ()) if not without.get(p["name"])]
    for parameter in parameters:
        if parameter["name"] == "If-Match" and r.versioned and verb != "restore":
            parameter["required"] = True
    operation["responses"] = {
        status: answer or _problem(problems[status])
        for status, answer in operation["responses"].items()
        if status not in gone
    }
    readers = roles.get("read", set())
    if asked != "read" and "anybody" not in readers and not roles.get(asked, set()) <= readers:
        _tell_writers(shape, operation["responses"])
    return operation | ({"parameters": parameters} if parameters else {})


def _tell_writers(shape: Shape, responses: Json) -> None:
    """Who may write and not read gets the key and the version."""
    key = shape.columns[0]
    known = {key.column: value_schema(key), "version": {"type": "integer"}}
    written = {"type": "object", "properties": known, "required": list(known)}
    for answer in responses.values():
        content = answer.get("content", {}).get("application/json")
        if content:
            content["schema"] = {"anyOf": [content["schema"], written]}


def _problem(title: str) -> Json:
    content = {"application/problem+json": {"schema": ref("Problem")}}
    return {"description": title, "content": content}


def _filters(shape: Shape) -> list[Json]:
    found = []
    for column in shape.columns:
        if column.filterable:
            more = ", ".join(f"[{operator}]" for operator in operators(column))
            about = f"only rows with this value; also with {more}"
            if column.choices:
                about = f"{', '.join(column.choices)}: {about}"
            # What no row can hold is no mistake: it finds none.
            schema = dict(KINDS[column.type].schema)
            if column.type in ("slug", "email", "url"):
                schema = {"type": "string"}
            made = {"name": column.column, "in": "query", "schema": schema}
            found.append(made | {"description": about})
    return found
