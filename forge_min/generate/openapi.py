"""IR → the OpenAPI 3.1 description of the generated routes. Paths stand without the prefix;
start-up adds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..parse.ir import FieldIR, RelationIR, ResourceIR

Json = dict[str, Any]

_SCHEMAS: dict[str, Json] = {
    "uuid": {"type": "string", "format": "uuid"},
    "string": {"type": "string"},
    "text": {"type": "string"},
    "enum": {"type": "string"},
    "int": {"type": "integer", "format": "int32"},
    "decimal": {"type": "string", "format": "decimal"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
}
_STAMP: Json = {"type": "string", "format": "date-time"}
_RULES = {
    "min": "minimum",
    "max": "maximum",
    "min_len": "minLength",
    "max_len": "maxLength",
}


def document(resources: Sequence[ResourceIR]) -> Json:
    """paths and components of every resource, in a stable order."""
    paths: Json = {}
    schemas: Json = {}
    for resource in resources:
        paths[f"/{resource.path}"] = {"get": _list(resource), "post": _create(resource)}
        paths[f"/{resource.path}/{{id}}"] = {
            "parameters": [_ID],
            "get": _answer(resource, "get", f"One {resource.name}", {"200": resource.name}, "404"),
            "patch": _write(resource, "update", "Change the given fields", patch=True),
            "put": _write(resource, "replace", "Replace every field", patch=False),
            "delete": _delete(resource),
        }
        schemas[resource.name] = _row(resource)
        schemas[f"{resource.name}Input"] = _input(resource)
        schemas[f"{resource.name}Patch"] = _input(resource, partial=True)
    return {"paths": paths, "components": {"schemas": schemas}}


_ID: Json = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}
_IF_MATCH: Json = {"name": "If-Match", "in": "header", "schema": {"type": "string"}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: Json, media: str = "application/json") -> Json:
    return {media: {"schema": schema}}


def _problem(status: str) -> Json:
    return {"description": _TITLES[status], "content": _content(_ref("Problem"), _PROBLEM)}


_PROBLEM = "application/problem+json"
_TITLES = {
    "400": "The request cannot be understood",
    "404": "There is no such row",
    "409": "A unique value is taken, or other rows refer to this one",
    "412": "The row has changed since it was read",
    "422": "Some values are not valid",
}


def _answer(r: ResourceIR, verb: str, summary: str, good: dict[str, str], *bad: str) -> Json:
    responses: Json = {
        status: {"description": summary, "content": _content(_ref(name))}
        for status, name in good.items()
    }
    responses |= {status: _problem(status) for status in bad}
    return {
        "operationId": f"{r.table}.{verb}",
        "summary": summary,
        "tags": [r.name],
        "responses": responses,
    }


def _body(name: str) -> Json:
    return {"required": True, "content": _content(_ref(name))}


def _create(r: ResourceIR) -> Json:
    made = _answer(r, "create", f"Create one {r.name}", {"201": r.name}, "400", "409", "422")
    return made | {"requestBody": _body(f"{r.name}Input")}


def _write(r: ResourceIR, verb: str, summary: str, *, patch: bool) -> Json:
    made = _answer(r, verb, summary, {"200": r.name}, "400", "404", "409", "412", "422")
    body = _body(f"{r.name}{'Patch' if patch else 'Input'}")
    return made | {"parameters": [_IF_MATCH], "requestBody": body}


def _delete(r: ResourceIR) -> Json:
    made = _answer(r, "delete", "Delete it", {}, "404", "409", "412")
    made["responses"] = {"204": {"description": "Deleted"}} | made["responses"]
    return made | {"parameters": [_IF_MATCH]}


def _list(r: ResourceIR) -> Json:
    made = _answer(r, "list", f"List {r.table}", {}, "400")
    page = {
        "type": "object",
        "required": ["data", "pagination"],
        "properties": {
            "data": {"type": "array", "items": _ref(r.name)},
            "pagination": _ref("Pagination"),
        },
    }
    made["responses"] = {
        "200": {"description": f"A page of {r.table}", "content": _content(page)}
    } | made["responses"]
    return made | {"parameters": _list_parameters(r)}


def _list_parameters(r: ResourceIR) -> list[Json]:
    number = {"type": "integer", "minimum": 1}
    sorts = ", ".join(["id", *(f.name for f in r.fields if f.sortable)])
    found = [
        _query("limit", number | {"maximum": 100, "default": 25}, "rows in a page"),
        _query("cursor", {"type": "string"}, "from pagination.next or pagination.prev"),
        _query("sort", {"type": "string"}, f"comma separated, - for descending: {sorts}"),
        _query("page", number, "instead of cursor: a page by number, with a total"),
        _query("per_page", number | {"maximum": 100}, "rows in a numbered page"),
    ]
    for member in r.members:
        if isinstance(member, RelationIR) or member.filterable:
            found.append(_query(member.column, _schema(member), "only rows with this value"))
    return found


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _schema(member: FieldIR | RelationIR) -> Json:
    if isinstance(member, RelationIR):
        return dict(_SCHEMAS["uuid"])
    schema = dict(_SCHEMAS[member.type])
    if member.choices:
        schema["enum"] = list(member.choices)
    if member.type != "decimal":
        for rule, word in _RULES.items():
            if (value := getattr(member, rule)) is not None:
                schema[word] = value
    return schema


def _nullable(member: FieldIR | RelationIR) -> Json:
    schema = _schema(member)
    if not member.required:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    if isinstance(member, FieldIR) and member.has_default:
        schema["default"] = member.default
    if member.label:
        schema["title"] = member.label
    if isinstance(member, FieldIR) and member.help:
        schema["description"] = member.help
    return schema


def _row(r: ResourceIR) -> Json:
    properties: Json = {"id": dict(_SCHEMAS["uuid"])}
    properties |= {m.column: _nullable(m) for m in r.members}
    properties["version"] = {"type": "integer", "format": "int64"}
    if r.timestamps:
        properties |= {"created_at": _STAMP, "updated_at": _STAMP}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _input(r: ResourceIR, *, partial: bool = False) -> Json:
    schema: Json = {
        "type": "object",
        "additionalProperties": False,
        "properties": {m.column: _nullable(m) for m in r.members},
    }
    required = [
        m.column for m in r.members if m.required and not (isinstance(m, FieldIR) and m.has_default)
    ]
    if required and not partial:
        schema["required"] = required
    return schema
