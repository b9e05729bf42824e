"""The OpenAPI 3.1 description of the generated routes, and the JSON schemas of rows and writes.

Paths have no prefix; the start of an application adds it, and the schemas Problem and Pagination.
The template has all operations and responses, and those that a resource lacks are removed here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from decimal import Decimal
from typing import Any

from ..i18n import humanize
from ..parse import TYPES, ColumnIR, ResourceIR, aggregate_names
from ..schema import States
from .resource_model import Shape, operators, transition_steps
from .templating import common, render_template

Json = dict[str, Any]

_RULES = {
    "min": "minimum",
    "max": "maximum",
    "min_len": "minLength",
    "max_len": "maxLength",
    "max_items": "maxItems",
}
# The rules of `actions` for a text key, which is part of a URL.
_KEY: Json = {"minLength": 1, "maxLength": 500, "not": {"pattern": r"/|^\.\.?$"}}
# Schemas that the start of an application adds; no resource's schema may replace them.
_SHARED = {"Problem", "Pagination"}


def component(shape: Shape, suffix: str = "", name: str = "") -> str:
    """Return the name of a schema: Flight, FlightInput, FlightPatch.

    It has a dot if a resource has the name without one.

    name: another resource than the shape's.
    """
    name = name or shape.resource.name
    names = shape.names if suffix else _SHARED
    if f"{name}{suffix}" in names:
        return f"{name}.{suffix or 'Row'}"
    return f"{name}{suffix}"


def ref(name: str) -> Json:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def value_schema(column: ColumnIR) -> Json:
    """Return the schema of the column's values, without null."""
    schema = dict(TYPES[column.type]["schema"])
    if column.target:
        return schema
    if column.choices:
        choices = {"enum": list(column.choices)}
        if column.is_array:
            schema["items"] = schema["items"] | choices
        else:
            schema |= choices
    if column.pattern is not None:
        schema["pattern"] = f"^(?:{column.pattern})$"
    if column.type == "json" and column.required:
        # "items" adds no rule, but generators of clients require it for "array".
        schema["type"] = ["object", "array", "string", "number", "boolean"]
        schema["items"] = {}
    if column.type == "decimal":  # a string in JSON
        schema["pattern"] = _digits(column)
    else:
        for rule, limit in column.rules.items():
            # JSON Schema has no limits of strings such as dates: they are in the description.
            if rule in _RULES and not isinstance(limit, str):
                schema[_RULES[rule]] = limit
    if column.primary_key and column.type == "string":
        shortest = schema.get("minLength", 1)
        longest = schema.get("maxLength", _KEY["maxLength"])
        schema |= _KEY
        schema["minLength"] = max(shortest, 1)
        schema["maxLength"] = min(longest, _KEY["maxLength"])
    return schema


def _digits(field: ColumnIR) -> str:
    """Return the pattern of a decimal with its sign and at most the digits of its precision."""
    sign = ""
    if field.rules.get("min", -1) < 0:
        sign = "-?"
    if field.precision is None:
        return rf"^{sign}[0-9]+(\.[0-9]+)?$"
    digits, after = field.precision
    before = "0"
    if digits > after:
        before = f"[0-9]{{1,{digits - after}}}"
    fraction = ""
    if after:
        fraction = f"(\\.[0-9]{{1,{after}}})?"
    return f"^{sign}{before}{fraction}$"


def row_schema(shape: Shape) -> Json:
    """Return the schema of a row in a response.

    Fields with limited visibility and relations that were not requested may be absent.
    """
    properties = {column.column: _property(column) for column in shape.columns}
    for link in shape.links:
        row = ref(component(shape, name=link.target.name))
        if link.kind in ("has_many", "many_to_many"):
            schema: Json = {"type": "array", "items": row}
        else:
            schema = {"anyOf": [row, {"type": "null"}]}
        schema["description"] = f"only with include={link.name}"
        properties[link.name] = schema
    for states in shape.resource.states:
        properties[states.name]["x-transitions"] = states.transitions
        if states.locked:
            properties[states.name]["x-locked"] = states.locked
    required = [column.column for column in shape.columns if not column.visible_to]
    return {"type": "object", "properties": properties, "required": required}


def input_schema(shape: Shape, *, partial: bool = False) -> Json:
    """Return the schema of the body of a create or, if `partial`, of an update."""
    properties = {}
    required = []
    example = {}
    for column in shape.written:
        if partial and column.immutable:
            continue
        name = column.column
        schema = _property(column)
        properties[name] = schema
        if column.default is not None and not partial:
            # Clients may send a documented default, and an update must not change the field.
            schema["default"] = _written(column)
        if column.type == "decimal":  # a number is accepted, too
            types = ["string", "number"]
            if not column.required:
                types.insert(1, "null")
            schema["type"] = types
        if column.needed:
            required.append(name)
        value = _example(column)
        if value is not None:
            example[name] = value
    for link in shape.across:
        keys = {"type": "array", "items": TYPES[link.target.key.type]["schema"]}
        properties[link.field] = keys | {"uniqueItems": True, "maxItems": 1000}
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    rules = [
        rule.message or f"Unique together: {', '.join(rule.fields)}."
        for rule in shape.resource.uniques
    ]
    rules += [check.message for check in shape.resource.checks]
    if rules:
        schema["description"] = " ".join(rules)
    if partial:
        return schema
    if example.keys() >= set(required):
        schema["examples"] = [example]
    if required:
        schema["required"] = required
    return schema


def _example(column: ColumnIR) -> Any:
    """Return a valid value, None if no rule determines one."""
    rules = column.rules
    example = TYPES[column.type].get("example")
    if column.target:
        return example
    if column.default is not None:
        return _written(column)
    if column.choices:
        choice = column.choices[0]
        return [choice] if column.is_array else choice
    if column.type in ("int", "bigint", "decimal", "float"):
        number = 1
        if column.precision and column.precision[0] == column.precision[1]:
            number = 0
        number = min(rules.get("max", number), number)
        number = rules.get("min", number)
        if column.type == "decimal":
            return format(Decimal(number), "f")
        return number
    if isinstance(example, str):
        if isinstance(column.min or column.max, str):
            return None
        length = len(example)
        if rules.get("min_len", 0) <= length <= rules.get("max_len", length):
            return example
        return None
    if example is not None or column.pattern is not None:
        return example
    words = column.placeholder or humanize(column.column)
    return words[: rules.get("max_len")].ljust(rules.get("min_len", 0), "x")


def _written(field: ColumnIR) -> Any:
    """Return the default as JSON."""
    if field.type == "decimal":
        return str(field.default)
    return field.default


def _property(column: ColumnIR) -> Json:
    schema = value_schema(column)
    if not column.required and "type" in schema:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    if column.placeholder and schema.get("type") in ("string", ["string", "null"]):
        schema["examples"] = [column.placeholder]
    sentences = []
    if column.help:
        sentences.append(column.help)
    if column.visible_to:
        sentences.append("(not for everybody)")
    for name, limit in column.rules.items():
        if name in _RULES and (isinstance(limit, str) or column.type == "decimal"):
            sentences.append(f"({name} {limit})")
    if column.label:
        schema["title"] = column.label
    if sentences:
        schema["description"] = " ".join(sentences)
    return schema


_REASON: Json = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"reason": {"type": "string", "minLength": 1, "maxLength": 1000}},
}
# The bodies of transitions that accept, and that need, a reason.
_REASONS = {"Reason": _REASON, "RequiredReason": _REASON | {"required": ["reason"]}}
_OPERATIONS = dict.fromkeys(("list", "get", "audit", "aggregate", "report"), "read")
_OPERATIONS["replace"] = "update"
_CONDITIONS = {
    "restore": "soft_delete",
    "audit": "auditable",
    "aggregate": "aggregatable",
    "{name}": "reports",
}


def document(shapes: Sequence[Shape]) -> Json:
    """Return `paths` and `components` of all resources, in a stable order."""
    paths: Json = {}
    schemas = {}
    for shape in shapes:
        paths |= _paths(shape)
        schemas[component(shape)] = row_schema(shape)
        schemas[component(shape, "Input")] = input_schema(shape)
        schemas[component(shape, "Patch")] = input_schema(shape, partial=True)
        if shape.resource.states:
            schemas |= _REASONS
    return {"paths": paths, "components": {"schemas": schemas}}


def _paths(shape: Shape) -> Json:
    resource = shape.resource
    columns = {column.column: column for column in shape.columns}
    groups, measures = aggregate_names(columns)
    sorts = [name for name, column in columns.items() if column.sortable]
    relations = [link.name for link in shape.links]
    values = common(resource)
    values |= {
        "groups": ", ".join(groups),
        "measures": ", ".join(measures),
        "reports": json.dumps([report.name for report in resource.reports]),
        "row": component(shape),
        "input": component(shape, "Input"),
        "patch": component(shape, "Patch"),
        "a_row": _a_row(shape),
        "rows": humanize(resource.table).lower(),
        "sorts": ", ".join(sorts),
        "searched": ", ".join(field.name for field in resource.searchable),
        "relations": ", ".join(relations),
        "sort_pattern": _listed("-?", sorts),
        "include_pattern": f"^$|{_listed('', relations)}",
    }
    template: Json = json.loads(render_template("openapi.json", values))
    items = template["paths"]
    restore = items[f"/{resource.path}/{{id}}/restore"]["post"]
    for states in resource.states:
        for verb in states.verbs:
            operation = deepcopy(restore) | _transition(shape, states, verb)
            operation["responses"]["409"] = _problem("The state of the row does not allow it")
            items[f"/{resource.path}/{{id}}/{verb}"] = {"post": operation}
    key = {"name": "id", "in": "path", "required": True, "schema": value_schema(shape.columns[0])}
    paths: Json = {}
    for path, item in items.items():
        condition = _CONDITIONS.get(path.rpartition("/")[2], "name")
        if not getattr(resource, condition):
            continue
        paths[path] = {}
        if "{id}" in path:
            paths[path]["parameters"] = [key]
        for method, operation in item.items():
            paths[path][method] = _completed(shape, operation, template["problems"])
    for path in (f"/{resource.path}", f"/{resource.path}/-/aggregate"):
        if path in paths:
            paths[path]["get"]["parameters"] += _filters(shape)
    return paths


def _transition(shape: Shape, states: States, verb: str) -> Json:
    """Return what differs from the operation of a restore."""
    transitions = transition_steps(states, verb).items()
    steps = [f"{state} → {successor}" for state, successor in transitions]
    needed = verb in states.reason
    schema = ref("RequiredReason" if needed else "Reason")
    return {
        "operationId": f"{shape.resource.table}.{verb}",
        "summary": f"{humanize(verb)} {_a_row(shape)}: {', '.join(steps)}",
        "requestBody": {"required": needed, "content": {"application/json": {"schema": schema}}},
    }


def _a_row(shape: Shape) -> str:
    """Return one row in words, "an admission"."""
    words = common(shape.resource)["label"]
    if words[0] in "aeio":
        return f"an {words}"
    return f"a {words}"


def _listed(before: str, names: Sequence[str]) -> str:
    """Return the pattern of a comma separated list of these names."""
    item = f"{before}({'|'.join(names)})"
    return f"^{item}(,{item})*$"


def _completed(shape: Shape, operation: Json, problems: dict[str, str]) -> Json:
    """Return the operation without the parameters and responses that the resource lacks."""
    resource = shape.resource
    verb = operation["operationId"].rpartition(".")[2]
    permission = _OPERATIONS.get(verb, verb)
    roles = {rule.operation: set(rule.roles) for rule in resource.permissions}
    removed = set()
    if not resource.versioned:
        removed.add("428")
    if not resource.tenant_scoped and _is_open(resource, verb, permission, roles):
        removed |= {"401", "403"}
    parameters = []
    for parameter in operation.pop("parameters", ()):
        name = parameter["name"]
        if name == "q" and not resource.searchable:
            continue
        if name == "include" and not shape.links:
            continue
        is_change = verb in ("update", "replace", "delete")
        if name == "If-Match" and resource.versioned and is_change:
            parameter["required"] = True
        parameters.append(parameter)
    if parameters:
        operation["parameters"] = parameters
    responses = {}
    for status, response in operation["responses"].items():
        if status not in removed:
            responses[status] = response or _problem(problems[status])
    operation["responses"] = responses
    readers = roles.get("read", set())
    writers = roles.get(permission, set())
    if permission != "read" and "anybody" not in readers and not writers <= readers:
        _add_short_row(shape, responses)
    return operation


def _is_open(
    resource: ResourceIR, verb: str, permission: str, roles: Mapping[str, set[str]]
) -> bool:
    """Return whether anonymous users may perform the operation. roles: by permission."""
    if verb == "audit":  # closed to anonymous users, unless its own permission opens it
        return "anybody" in roles.get(verb, ())
    reports = {report.name for report in resource.reports}
    if verb == "report" and not reports.isdisjoint(roles):
        return False
    return roles.keys() <= {"audit", *reports} or "anybody" in roles.get(permission, ())


def _add_short_row(shape: Shape, responses: Json) -> None:
    """Add the row that a user with permission to write but not to read gets: key and version."""
    key = shape.columns[0]
    fields = {key.column: value_schema(key), "version": {"type": "integer"}}
    short = {"type": "object", "properties": fields, "required": list(fields)}
    for response in responses.values():
        content = response.get("content", {}).get("application/json")
        if content:
            content["schema"] = {"anyOf": [content["schema"], short]}


def _problem(title: str) -> Json:
    content = {"application/problem+json": {"schema": ref("Problem")}}
    return {"description": title, "content": content}


def _filters(shape: Shape) -> list[Json]:
    parameters = []
    for name, column in shape.filters:
        others = ", ".join(f"[{operator}]" for operator in operators(column))
        about = f"only rows with this value; also with {others}"
        if column.choices:
            about = f"{', '.join(column.choices)}: {about}"
        # A value that no row can have is not an error: the list is empty.
        schema = TYPES[column.type.removesuffix("[]")]["schema"]
        if column.type in ("slug", "email", "url"):
            schema = {"type": "string"}
        if column.is_array:
            name += "[contains]"
        parameters.append({"name": name, "in": "query", "schema": schema, "description": about})
    return parameters
