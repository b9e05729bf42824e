"""The OpenAPI 3.1 description of the generated routes, and the JSON schemas of rows and writes.

Paths have no prefix; the start of an application adds it, and the schemas Problem and Pagination.
The template has all operations and responses, and those that a resource lacks are removed here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from decimal import Decimal
from typing import Any

from ..i18n import humanize
from ..parse import TYPES, ColumnIR, aggregate_names
from ..schema import States
from .resource_model import Shape, operators
from .templating import common, render_template

Json = dict[str, Any]

_RULES = {"min": "minimum", "max": "maximum", "min_len": "minLength", "max_len": "maxLength"}
_RULES |= {"max_items": "maxItems"}
# The rules of `actions` for a text key, which is part of a URL.
_KEY: Json = {"minLength": 1, "maxLength": 500, "not": {"pattern": r"/|^\.\.?$"}}
_NULL: Json = {"type": "null"}
# Schemas that the start of an application adds; no resource's schema may replace them.
_SHARED = frozenset({"Problem", "Pagination"})


def component(shape: Shape, suffix: str = "", name: str = "") -> str:
    """Return the name of a schema: Flight, FlightInput, FlightPatch.

    It has a dot if a resource has the name without one.

    name: another resource than the shape's.
    """
    name = name or shape.resource.name
    taken = name + suffix in (shape.names if suffix else _SHARED)
    return f"{name}.{suffix or 'Row'}" if taken else name + suffix


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
        schema |= {"items": schema["items"] | choices} if column.is_array else choices
    if column.pattern is not None:
        schema["pattern"] = f"^(?:{column.pattern})$"
    if column.type == "json" and column.required:
        # "items" adds no rule, but generators of clients require it for "array".
        schema |= {"type": ["object", "array", "string", "number", "boolean"], "items": {}}
    if column.type == "decimal":  # a string in JSON
        schema["pattern"] = _digits(column)
    else:
        # JSON Schema has no limits of strings such as dates: they are in the description.
        rules = ((n, rule) for n, rule in column.rules.items() if not isinstance(rule, str))
        schema |= {_RULES[rule]: value for rule, value in rules if rule in _RULES}
    if column.primary_key and column.type == "string":
        longest = min(schema.get("maxLength", _KEY["maxLength"]), _KEY["maxLength"])
        schema |= _KEY | {"minLength": max(schema.get("minLength", 1), 1), "maxLength": longest}
    return schema


def _digits(field: ColumnIR) -> str:
    """Return the pattern of a decimal with its sign and at most the digits of its precision."""
    sign = "-?" if field.rules.get("min", -1) < 0 else ""
    if field.precision is None:
        return rf"^{sign}[0-9]+(\.[0-9]+)?$"
    digits, after = field.precision
    before = f"[0-9]{{1,{digits - after}}}" if digits > after else "0"
    fraction = f"(\\.[0-9]{{1,{after}}})?" if after else ""
    return f"^{sign}{before}{fraction}$"


def row_schema(shape: Shape) -> Json:
    """Return the schema of a row in a response.

    Fields with limited visibility and relations that were not requested may be absent.
    """
    properties = {column.column: _property(column) for column in shape.columns}
    for link in shape.links:
        row = ref(component(shape, name=link.target.name))
        many: Json = {"type": "array", "items": row}
        shown = many if link.kind in ("has_many", "many_to_many") else {"anyOf": [row, _NULL]}
        properties[link.name] = shown | {"description": f"only with include={link.name}"}
    for states in shape.resource.states:
        properties[states.name]["x-transitions"] = states.transitions
        if states.locked:
            properties[states.name]["x-locked"] = states.locked
    required = [column.column for column in shape.columns if not column.visible_to]
    return {"type": "object", "properties": properties, "required": required}


def input_schema(shape: Shape, *, partial: bool = False) -> Json:
    """Return the schema of the body of a create or, if `partial`, of an update."""
    columns = [c for c in shape.written if not (partial and c.immutable)]
    properties = {column.column: _property(column) for column in columns}
    for column in columns:
        if column.default is not None and not partial:
            # Clients may send a documented default, and an update must not change the field.
            properties[column.column]["default"] = _written(column)
        if column.type == "decimal":  # a number is accepted, too
            null = ["null"] * (not column.required)
            properties[column.column]["type"] = ["string", *null, "number"]
    for link in shape.across:
        keys = {"type": "array", "items": TYPES[link.target.key.type]["schema"]}
        properties[link.field] = keys | {"uniqueItems": True, "maxItems": 1000}
    schema: Json = {"type": "object", "additionalProperties": False, "properties": properties}
    uniques, checks = shape.resource.uniques, shape.resource.checks
    rules = [rule.message or f"Unique together: {', '.join(rule.fields)}." for rule in uniques]
    if rules := [*rules, *(check.message for check in checks)]:
        schema["description"] = " ".join(rules)
    required = [column.column for column in columns if column.needed]
    example = {c.column: shown for c in columns if (shown := _example(c)) is not None}
    if not partial and set(required) <= example.keys():
        schema["examples"] = [example]
    return schema | ({"required": required} if required and not partial else {})


def _example(column: ColumnIR) -> Any:
    """Return a valid value, None if no rule determines one."""
    rules, shown = column.rules, TYPES[column.type].get("example")
    if column.target:
        return shown
    if column.default is not None:
        return _written(column)
    if column.choices:
        return [column.choices[0]] if column.is_array else column.choices[0]
    if column.type in ("int", "bigint", "decimal", "float"):
        small = 0 if column.precision and column.precision[0] == column.precision[1] else 1
        number = rules.get("min", min(rules.get("max", small), small))
        return format(Decimal(number), "f") if column.type == "decimal" else number
    if isinstance(shown, str):
        fits = rules.get("min_len", 0) <= len(shown) <= rules.get("max_len", len(shown))
        return shown if fits and not isinstance(column.min or column.max, str) else None
    if shown is not None or column.pattern is not None:
        return shown
    words = column.placeholder or humanize(column.column)
    return words[: rules.get("max_len")].ljust(rules.get("min_len", 0), "x")


def _written(field: ColumnIR) -> Any:
    """Return the default as JSON."""
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
    for name, limit in column.rules.items():
        if name in _RULES and (isinstance(limit, str) or column.type == "decimal"):
            about.append(f"({name} {limit})")
    texts = {"title": column.label, "description": " ".join(filter(None, about))}
    return schema | {name: text for name, text in texts.items() if text}


_REASON: Json = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"reason": {"type": "string", "minLength": 1, "maxLength": 1000}},
}
# The bodies of transitions that accept, and that need, a reason.
_REASONS = {"Reason": _REASON, "RequiredReason": _REASON | {"required": ["reason"]}}
_CHANGES = ("update", "replace", "delete")  # operations that name a version
_OPERATIONS = dict.fromkeys(("list", "get", "audit", "aggregate", "report"), "read")
_OPERATIONS |= {"replace": "update"}
_CONDITIONS = {"restore": "soft_delete", "audit": "auditable"}
_CONDITIONS |= {"aggregate": "aggregatable", "{name}": "reports"}


def document(shapes: Sequence[Shape]) -> Json:
    """Return `paths` and `components` of all resources, in a stable order."""
    paths: Json = {}
    schemas: Json = {}
    for shape in shapes:
        paths |= _paths(shape)
        schemas[component(shape)] = row_schema(shape)
        schemas[component(shape, "Input")] = input_schema(shape)
        schemas[component(shape, "Patch")] = input_schema(shape, partial=True)
        if shape.resource.states:
            schemas |= _REASONS
    return {"paths": paths, "components": {"schemas": schemas}}


def _paths(shape: Shape) -> Json:
    r, columns = shape.resource, {column.column: column for column in shape.columns}
    groups, measures = aggregate_names(columns)
    values = {
        "groups": ", ".join(groups),
        "measures": ", ".join(measures),
        "reports": json.dumps([report.name for report in r.reports]),
        "row": component(shape),
        "input": component(shape, "Input"),
        "patch": component(shape, "Patch"),
        "a_row": _a_row(shape),
        "rows": humanize(shape.resource.table).lower(),
        "sorts": ", ".join(column.column for column in shape.columns if column.sortable),
        "searched": ", ".join(field.name for field in shape.resource.searchable),
        "relations": ", ".join(link.name for link in shape.links),
        "sort_pattern": _listed("-?", [c.column for c in shape.columns if c.sortable]),
        "include_pattern": "^$|" + _listed("", [link.name for link in shape.links]),
    }
    template: Json = json.loads(render_template("openapi.json", common(r) | values))
    restore = template["paths"][f"/{r.path}/{{id}}/restore"]["post"]
    for states in r.states:
        for verb in states.verbs:
            operation = deepcopy(restore) | _transition(shape, states, verb)
            operation["responses"]["409"] = _problem("The state of the row does not allow it")
            template["paths"][f"/{r.path}/{{id}}/{verb}"] = {"post": operation}
    key = {"name": "id", "in": "path", "required": True, "schema": value_schema(shape.columns[0])}
    paths: Json = {}
    for path, item in template["paths"].items():
        if getattr(r, _CONDITIONS.get(path.rpartition("/")[2], "name")):
            paths[path] = {"parameters": [key]} if "{id}" in path else {}
            for method, operation in item.items():
                paths[path][method] = _completed(shape, operation, template["problems"])
    for path in (f"/{r.path}", f"/{r.path}/-/aggregate"):
        if path in paths:
            paths[path]["get"]["parameters"] += _filters(shape)
    return paths


def _transition(shape: Shape, states: States, verb: str) -> Json:
    """Return what differs from the operation of a restore."""
    steps = [f"{s} → {verbs[verb]}" for s, verbs in states.transitions.items() if verb in verbs]
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
    return f"{'an' if words[0] in 'aeio' else 'a'} {words}"


def _listed(before: str, names: Sequence[str]) -> str:
    """Return the pattern of a comma separated list of these names."""
    item = f"{before}({'|'.join(names)})"
    return f"^{item}(,{item})*$"


def _completed(shape: Shape, operation: Json, problems: dict[str, str]) -> Json:
    """Return the operation without the parameters and responses that the resource lacks."""
    r, verb = shape.resource, operation["operationId"].rpartition(".")[2]
    permission = _OPERATIONS.get(verb, verb)
    removed = set() if r.versioned else {"428"}
    roles = {p.operation: set(p.roles) for p in r.permissions}
    reports = {report.name for report in r.reports}
    is_open = not roles.keys() - {"audit", *reports} or "anybody" in roles.get(permission, ())
    is_open = is_open and not (verb == "report" and reports & roles.keys())
    if verb == "audit":  # closed to anonymous users, unless its own permission opens it
        is_open = "anybody" in roles.get("audit", ())
    if not r.tenant_scoped and is_open:
        removed |= {"401", "403"}
    without = {"q": not r.searchable, "include": not shape.links}
    parameters = [p for p in operation.pop("parameters", ()) if not without.get(p["name"])]
    for parameter in parameters:
        if parameter["name"] == "If-Match" and r.versioned and verb in _CHANGES:
            parameter["required"] = True
    operation["responses"] = {
        status: response or _problem(problems[status])
        for status, response in operation["responses"].items()
        if status not in removed
    }
    readers, writers = roles.get("read", set()), roles.get(permission, set())
    if permission != "read" and "anybody" not in readers and not writers <= readers:
        _add_short_row(shape, operation["responses"])
    return operation | ({"parameters": parameters} if parameters else {})


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
    parameters: list[Json] = []
    for name, column in shape.filters:
        more = ", ".join(f"[{operator}]" for operator in operators(column))
        about = f"only rows with this value; also with {more}"
        if column.choices:
            about = f"{', '.join(column.choices)}: {about}"
        # A value that no row can have is not an error: the list is empty.
        schema = dict(TYPES[column.type.removesuffix("[]")]["schema"])
        if column.type in ("slug", "email", "url"):
            schema = {"type": "string"}
        name = f"{name}[contains]" if column.is_array else name
        parameter = {"name": name, "in": "query", "schema": schema}
        parameters.append(parameter | {"description": about})
    return parameters
