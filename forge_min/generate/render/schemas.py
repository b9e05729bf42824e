"""The JSON schemas of rows and of what writes take (OpenAPI 3.1, JSON Schema 2020-12)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ...parse.ir import ColumnIR
from ...text import spoken
from .shape import KINDS, Shape

Json = dict[str, Any]

_RULES = {"min": "minimum", "max": "maximum", "min_len": "minLength", "max_len": "maxLength"}
# Of a key that is text, as `actions` asks of it: it has to fit an address.
_KEY: Json = {"minLength": 1, "maxLength": 500, "not": {"pattern": r"/|^\.\.?$"}}
_NULL: Json = {"type": "null"}
# Of start-up: no resource's schema may take their place.
_SHARED = frozenset({"Problem", "Pagination"})


def component(shape: Shape, suffix: str = "", name: str = "") -> str:
    """The name of a schema: Flight, FlightInput, FlightPatch; with a dot where it is taken.

    name: of another resource than the shape's.
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
    """The body of a create; partial: of an update, which gives some of the fields."""
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
