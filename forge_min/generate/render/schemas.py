"""The JSON schemas of rows and of what writes take (OpenAPI 3.1, JSON Schema 2020-12)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ...parse.ir import FieldIR
from ...text import spoken
from .shape import KINDS, Column, Shape

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


def value_schema(column: Column) -> Json:
    """What a value of the column is, without null."""
    schema, field = dict(column.kind.schema), column.member
    if not isinstance(field, FieldIR):
        return schema
    if field.choices:
        schema["enum"] = list(field.choices)
    if field.pattern is not None:
        schema["pattern"] = f"^(?:{field.pattern})$"
    if field.type == "json" and field.required:
        # "items" says nothing, and generators of clients ask for it beside "array".
        schema |= {"type": ["object", "array", "string", "number", "boolean"], "items": {}}
    if field.type == "decimal":  # it is written as a string
        schema["pattern"] = _digits(field)
    else:
        rules = column.rules.items()
        schema |= {_RULES[rule]: value for rule, value in rules if rule in _RULES}
    if field.primary_key and field.type == "string":
        longest = min(schema.get("maxLength", _KEY["maxLength"]), _KEY["maxLength"])
        schema |= _KEY | {"minLength": max(schema.get("minLength", 1), 1), "maxLength": longest}
    return schema


def _digits(field: FieldIR) -> str:
    """What a decimal of this precision looks like; it may be written with fewer digits."""
    if field.precision is None:
        return r"^-?[0-9]+(\.[0-9]+)?$"
    digits, after = field.precision
    before = f"[0-9]{{1,{digits - after}}}" if digits > after else "0"
    return f"^-?{before}(\\.[0-9]{{1,{after}}})?$" if after else f"^-?{before}$"


def row_schema(shape: Shape) -> Json:
    """One row of an answer. What not everybody sees or what was not asked for may be absent."""
    properties = {column.name: _property(column) for column in shape.columns}
    for link in shape.links:
        one = ref(component(shape, name=link.target.name))
        many: Json = {"type": "array", "items": one}
        shown = many if link.kind in ("has_many", "many_to_many") else {"anyOf": [one, _NULL]}
        properties[link.name] = shown | {"description": f"only with include={link.name}"}
    required = [column.name for column in shape.columns if not column.member.visible_to]
    return {"type": "object", "properties": properties, "required": required}


def input_schema(shape: Shape, *, partial: bool = False) -> Json:
    """The body of a create; partial: of an update, which gives some of the fields."""
    columns = [c for c in shape.written if not (partial and c.member.immutable)]
    properties = {column.name: _property(column) for column in columns}
    for column in columns:
        member = column.member
        if isinstance(member, FieldIR) and member.default is not None and not partial:
            # A client sends what a document calls the default: no change may bring it along.
            properties[column.name]["default"] = _written(member)
        if column.type == "decimal":  # a number is as good
            kinds = properties[column.name]["type"]
            properties[column.name]["type"] = [
                *([kinds] if isinstance(kinds, str) else kinds),
                "number",
            ]
    for link in shape.across:
        keys = {"type": "array", "items": KINDS[link.target.key.type].schema}
        properties[link.field] = keys | {"uniqueItems": True, "maxItems": 1000}
    schema: Json = {"type": "object", "additionalProperties": False, "properties": properties}
    required = [column.name for column in columns if column.needed]
    example = {c.name: shown for c in columns if (shown := _example(c)) is not None}
    if not partial and set(required) <= example.keys():
        schema["examples"] = [example]
    return schema | ({"required": required} if required and not partial else {})


def _example(column: Column) -> Any:
    """A value that could be one; None where only a person knows."""
    member, rules = column.member, column.rules
    if not isinstance(member, FieldIR):
        return column.kind.example
    if member.default is not None:
        return _written(member)
    if member.choices:
        return member.choices[0]
    if member.type in ("int", "bigint", "decimal"):
        one = 0 if member.precision and member.precision[0] == member.precision[1] else 1
        number = rules.get("min", min(rules.get("max", one), one))
        return format(Decimal(number), "f") if member.type == "decimal" else number
    shown = column.kind.example
    if isinstance(shown, str):
        fits = rules.get("min_len", 0) <= len(shown) <= rules.get("max_len", len(shown))
        return shown if fits else None
    if shown is not None or member.pattern is not None:
        return shown
    words = member.placeholder or spoken(column.name)
    return words[: rules.get("max_len")].ljust(rules.get("min_len", 0), "x")


def _written(field: FieldIR) -> Any:
    """The default as JSON."""
    return str(field.default) if field.type == "decimal" else field.default


def _property(column: Column) -> Json:
    schema, member = value_schema(column), column.member
    if column.nullable and "type" in schema:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    string = schema.get("type") in ("string", ["string", "null"])
    if isinstance(member, FieldIR) and member.placeholder and string:
        schema["examples"] = [member.placeholder]
    about = [member.help, "(not for everybody)" * bool(member.visible_to)]
    words = {"title": member.label, "description": " ".join(filter(None, about))}
    return schema | {name: text for name, text in words.items() if text}
