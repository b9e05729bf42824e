"""The schema language as Python: it imports, and gives frozen values."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args, get_type_hints

import pytest
from forge_min import schema


def test_a_definition_keeps_its_parts_in_order() -> None:
    code = schema.string("code", required=True, unique=True, max_len=2)
    hooks = schema.with_hooks(schema.Hooks(after_create=[schema.JobRef(kind="SendWelcome")]))
    country = schema.define("Country", code, schema.timestamps(), hooks, plural="countries")
    assert country.parts == (code, schema.Trait("timestamps"), hooks)
    assert (country.name, country.plural) == ("Country", "countries")


TYPES = [
    schema.uuid,
    schema.string,
    schema.text,
    schema.slug,
    schema.email,
    schema.url,
    schema.int,
    schema.bigint,
    schema.decimal,
    schema.bool,
    schema.datetime,
    schema.date,
    schema.time,
    schema.duration,
    schema.float,
]
COMMON = {"required": True, "immutable": True, "label": "L", "placeholder": "P", "help": "H"}
COMMON |= {"visible_to": ["admin"], "writable_by": ("admin",)}


@pytest.mark.parametrize("function", TYPES)
def test_every_type_takes_a_name_and_the_common_options(function: Any) -> None:
    options = COMMON | dict.fromkeys(("unique", "index", "sortable", "filterable"), True)
    field = function("x", **options)
    assert field == schema.Field("x", field.type, **options)


def test_json_takes_the_options_that_need_no_order_of_values() -> None:
    assert schema.json("x", **COMMON) == schema.Field("x", "json", **COMMON)
    with pytest.raises(TypeError):
        schema.json("x", 3)  # type: ignore[call-arg]


def test_there_is_a_function_for_every_type() -> None:
    names = {function("x").type for function in TYPES} | {"enum", "json"}
    names |= {schema.array("x", of).type for of in get_args(get_type_hints(schema.array)["of"])}
    assert names == set(get_args(schema.FieldType))


def test_everything_public_is_there_once() -> None:
    assert len(set(schema.__all__)) == len(schema.__all__)
    assert all(hasattr(schema, name) for name in schema.__all__)


def test_relations_keep_what_was_written() -> None:
    assert schema.belongs_to("A", "b", unique=True) == schema.BelongsTo("A", "b", unique=True)
    assert schema.has_many("A", via="b") == schema.Many("has_many", "A", via="b")
    assert schema.has_one("A", "c") == schema.Many("has_one", "A", "c")
    assert schema.many_to_many("A", table="t") == schema.Many("many_to_many", "A", table="t")


def test_traits_and_permissions_are_values() -> None:
    traits = [schema.timestamps(), schema.soft_delete(), schema.tenant_scoped()]
    traits += [schema.auditable(), schema.version()]
    assert [trait.name for trait in traits] == list(get_args(schema.TraitName))
    assert schema.permission("read", ["a"]) == schema.Permission("read", ["a"])


def test_values_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        schema.uuid("x").name = "y"  # type: ignore[misc]


def test_a_list_of_choices_is_kept_as_a_tuple() -> None:
    assert schema.enum("status", ["a", "b"]).choices == ("a", "b")


def test_an_option_that_does_not_exist_is_refused_by_python_too() -> None:
    with pytest.raises(TypeError):
        schema.string("x", lenght=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        schema.belongs_to("X", "x", uniqe=True)  # type: ignore[call-arg]
