"""The schema language as Python: it imports, and gives frozen values."""

from __future__ import annotations

import dataclasses

import pytest
from forge_min import schema


def test_a_definition_keeps_its_parts_in_order() -> None:
    code = schema.string("code", required=True, unique=True, max_len=2)
    hooks = schema.with_hooks(schema.Hooks(after_create=[schema.JobRef(kind="SendWelcome")]))
    country = schema.define("Country", code, schema.timestamps(), hooks, plural="countries")
    assert country.parts == (code, schema.Timestamps(), hooks)
    assert (country.name, country.plural) == ("Country", "countries")


@pytest.mark.parametrize(
    "function",
    [
        schema.string,
        schema.text,
        schema.int,
        schema.decimal,
        schema.bool,
        schema.datetime,
        schema.date,
        schema.uuid,
    ],
)
def test_every_type_takes_a_name_and_the_common_options(function) -> None:  # type: ignore[no-untyped-def]
    field = function("x", required=True, unique=True, index=True, sortable=True, label="L")
    assert field == schema.Field(
        "x", field.type, required=True, unique=True, index=True, sortable=True, label="L"
    )


def test_values_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        schema.uuid("x").name = "y"  # type: ignore[misc]


def test_a_list_of_choices_is_kept_as_a_tuple() -> None:
    assert schema.enum("status", ["a", "b"]).choices == ("a", "b")


def test_an_option_that_does_not_exist_is_refused_by_python_too() -> None:
    with pytest.raises(TypeError):
        schema.string("x", lenght=3)  # type: ignore[call-arg]
