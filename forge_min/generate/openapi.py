"""The OpenAPI 3.1 description of the generated routes, and the JSON schemas of rows and writes.

Paths stand without the prefix; start-up adds it, and the schemas Problem and Pagination. The
template has every operation with all its responses; what a resource does not have is removed here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ..i18n import spoken
from ..parse import ColumnIR
from .resource_model import KINDS, Shape, operators
from .templating import common, render_template

Json = dict[str, Any]

_RULES = {"min": "minimum", "max": "maximum", "min_len": "minLength", "max_len": "maxLength"}
# Of a key that is text, as `actions` asks of it: it has to fit an address.
_KEY: Json = {"minLength": 1, "maxLength": 500, "not": {"pattern": r"/|^\.\.?$"}}
_NULL: Json = {"type": "null"}
# Of start-up: no resource's schema may take their place.
_SHARED = frozenset({"Problem", "Pagination"})


def component(shape: Shape, suffix: str = "", name: str = "") -> str:
    """The name of a schema: Flight, FlightInput, FlightPatch.

    It has a dot where that is taken. name: of another resource than the shape's.
    """
    name = name or shape.resource.name
    taken = name + suffix in (shape.names if suffix else _SHARED)
    return f"{name}.{suffix or 'Row'}" if taken else name + suffix


def ref(name: str) -> Json:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def value_schema(column: ColumnIR) -> Json:
    """What a value of the column is, without null."""
    schema = dict(KINDS[column.type].schema)
    if column.target:
        return schema
    if column.choices:
        schema["enum"] = list(column.choices)
    if column.pattern is not None:
        schema["pattern"] = f"^(?:{column.pattern})$"
    if column.type == "json" and column.required:
        # "items" says nothing, and generators of clients ask for it beside "array".
        schema |= {"type": ["object", "array", "string", "number", "boolean"], "items": {}}
    if column.type == "decimal":  # it is written as a string
        schema["pattern"] = _digits(column)
    else:
        rules = column.rules.items()
        schema |= {_RULES[rule]: value for rule, value in rules if rule in _RULES}
    if column.primary_key and column.type == "string":
        longest = min(schema.get("maxLength", _KEY["maxLength"]), _KEY["maxLength"])
        schema |= _KEY | {"minLength": max(schema.get("minLength", 1), 1), "maxLength": longest}
    return schema


def _digits(field: ColumnIR) -> str:
    """What a decimal of this precision looks like; it may be written with fewer digits."""
    if field.precision is None:
        return r"^-?[0-9]+(\.[0-9]+)?$"
    digits, after = field.precision
    before = f"[0-9]{{1,{digits - after}}}" if digits > after else "0"
    return f"^-?{before}(\\.[0-9]{{1,{after}}})?$" if after else f"^-?{before}$"


def row_schema(shape: Shape) -> Json:
    """One row of an answer. What not everybody sees or what was not asked for may be absent."""
    properties = {column.column: _property(column) for column in shape.columns}
    for link in shape.links:
        one = ref(component(shape, name=link.target.name))
        many: Json = {"type": "array", "items": one}
        shown = many if link.kind in ("has_many", "many_to_many") else {"anyOf": [one, _NULL]}
        properties[link.name] = shown | {"description": f"only with include={link.name}"}
    required = [column.column for column in shape.columns if not column.visible_to]
    return {"type": "object", "properties": properties, "required": required}


def input_schema(shape: Shape, *, partial: bool = False) -> Json:
    """The body of a create, or (partial) of an update, which gives some of the fields."""
    columns = [c for c in shape.written if not (partial and c.immutable)]
    properties = {column.column: _property(column) for column in columns}
    for column in columns:
        if column.default is not None and not partial:
            # A client sends what a document calls the default: no change may bring it along.
            properties[column.column]["default"] = _written(column)
        if column.type == "decimal":  # a number is as good
            kinds = properties[column.column]["type"]
            properties[column.column]["type"] = [
                *([kinds] if isinstance(kinds, str) else kinds),
                "number",
            ]
    for link in shape.across:
        keys = {"type": "array", "items": KINDS[link.target.key.type].schema}
        properties[link.field] = keys | {"uniqueItems": True, "maxItems": 1000}
    schema: Json = {"type": "object", "additionalProperties": False, "properties": properties}
    required = [column.column for column in columns if column.needed]
    example = {c.column: shown for c in columns if (shown := _example(c)) is not None}
    if not partial and set(required) <= example.keys():
        schema["examples"] = [example]
    return schema | ({"required": required} if required and not partial else {})


def _example(column: ColumnIR) -> Any:
    """A value that could be one; None where only a person knows."""
    rules, shown = column.rules, KINDS[column.type].example
    if column.target:
        return shown
    if column.default is not None:
        return _written(column)
    if column.choices:
        return column.choices[0]
    if column.type in ("int", "bigint", "decimal"):
        one = 0 if column.precision and column.precision[0] == column.precision[1] else 1
        number = rules.get("min", min(rules.get("max", one), one))
        return format(Decimal(number), "f") if column.type == "decimal" else number
    if isinstance(shown, str):
        fits = rules.get("min_len", 0) <= len(shown) <= rules.get("max_len", len(shown))
        return shown if fits else None
    if shown is not None or column.pattern is not None:
        return shown
    words = column.placeholder or spoken(column.column)
    return words[: rules.get("max_len")].ljust(rules.get("min_len", 0), "x")


def _written(field: ColumnIR) -> Any:
    """The default as JSON."""
    return str(field.default) if field.type == "decimal" else field.default


def _property(column: ColumnIR) -> Json:
    schema = value_schema(column)
    if not column.required and "type" in schema:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    if column.placeholder and schema.get("type") in ("string", ["string", "null"]):
        schema["examples"] = [column.placeholder]
    about = [column.help, "(not for everybody)" * bool(column.visible_to)]
    words = {"title": column.label, "description": " ".join(filter(None, about))}
    return schema | {name: text for name, text in words.items() if text}


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
    template: Json = json.loads(render_template("openapi.json", common(shape.resource) | words))
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
