"""Defaults that a schema may give: the same values that a request may send."""

from __future__ import annotations

import pytest
from forge_min.actions.values import TYPES as VALUES
from hypothesis import given
from hypothesis import strategies as st

from .helpers import codes, marked, parse_parts, resource
from .strategies import TYPES

WITH_DEFAULT = sorted(name for name in TYPES if "default" in TYPES[name] and name != "enum")


@given(st.data())
def test_a_default_that_may_stand_is_a_value_that_a_request_may_send(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(WITH_DEFAULT))
    default = data.draw(TYPES[kind]["default"])
    (field,) = resource(f"schema.{kind}('x', default={default!r})").fields
    assert field.default == default
    if default is not None:
        VALUES[kind].read(default)


@pytest.mark.parametrize(
    ("kind", "default", "code"),
    [
        ("int", "1", "F107"),
        ("int", "0); drop table victim; --", "F107"),
        ("int", 2**31, "F125"),
        ("bool", "true", "F107"),
        ("string", 5, "F107"),
        ("string", "a\0b", "F150"),
        ("decimal", "NaN", "F125"),
        ("decimal", "1; drop table victim", "F125"),
        ("date", "today", "F125"),
        ("datetime", "now", "F125"),
        ("datetime", "infinity", "F125"),
        ("datetime", "2026-01-31T12:00:00+20:00", "F125"),
        ("uuid", "gen_random_uuid()", "F125"),
    ],
)
def test_a_default_that_is_no_value_of_its_type_is_refused(
    kind: str, default: object, code: str
) -> None:
    assert codes(parse_parts(f"schema.{kind}('x', default={default!r})")) == [code]


@pytest.mark.parametrize(
    ("kind", "options", "code"),
    [
        ("int", "min=0.5", "F107"),
        ("decimal", 'min="0.5"', "F107"),
        ("decimal", "max=1e999", "F127"),
        ("decimal", "min=0.5, max=0.25", "F127"),
        ("decimal", "min=0.001, precision=(9, 2)", "F127"),
        ("decimal", 'min=0.5, default="0.4"', "F125"),
        ("float", "max=1e999", "F127"),
        ("float", "min=0.5, max=0.25", "F127"),
        ("float", "min=0.5, default=0.4", "F125"),
        ("date", 'min="now"', "F127"),
        ("date", 'min="today+2h"', "F127"),
        ("date", 'min="2026-02-30"', "F127"),
        ("date", 'min=""', "F127"),
        ("time", 'min="-"', "F127"),
        ("date", "min=2026", "F107"),
        ("date", 'min="2026-02-01", max="2026-01-01"', "F127"),
        ("date", 'min="2026-02-01", default="2026-01-01"', "F125"),
        ("datetime", 'max="today"', "F127"),
        ("datetime", 'max="now+2"', "F127"),
        ("datetime", 'max="2026-01-31T12:00:00"', "F127"),
        ("datetime", 'min="2026-01-01T01:00:00+02:00", max="2025-12-31T22:00:00Z"', "F127"),
        ("time", 'max="24:00:00"', "F127"),
        ("time", 'max="now"', "F127"),
        ("time", 'min="09:00:00", max="08:00:00"', "F127"),
        ("duration", 'min="1:30:00"', "F127"),
        ("duration", 'min="P1M"', "F127"),
        ("duration", 'max="P9999999999D"', "F127"),
        ("duration", 'min="P1D", max="PT23H"', "F127"),
        ("duration", 'min="P1D", default="PT24H"', None),
        ("date", 'min="today-18y", max="2000-01-01", default="2000-01-01"', None),
        ("array", 'of="decimal"', "F107"),
        ("array", 'of="enum"', "F128"),
        ("array", 'of="enum", choices=["a", "a"]', "F128"),
        ("array", 'of="string", choices=["a"]', "F128"),
        ("array", 'of="int", max_items=0', "F127"),
        ("array", 'of="int", max_items=1001', "F127"),
        ("array", 'of="int", sortable=True', "F105"),
        ("array", "max_items=1", "F107"),
    ],
)
def test_a_limit_that_its_type_cannot_have_is_refused(
    kind: str, options: str, code: str | None
) -> None:
    assert codes(parse_parts(f"schema.{kind}('x', {options})")) == ([code] if code else [])


def test_a_wrong_limit_is_marked_with_a_hint() -> None:
    parsed = parse_parts("schema.date('x', min='today-18x')")
    assert marked(parsed.diagnostics[0]) == "'today-18x'"
    assert '"today-18y"' in parsed.diagnostics[0].hint


def test_a_number_that_python_will_not_spell_is_refused() -> None:
    assert codes(parse_parts(f"schema.decimal('x', default=0x{'f' * 5000})")) == ["F125"]


@pytest.mark.parametrize("name", ["ctid", "xmin", "tableoid"])
def test_what_every_table_has_already_is_no_name(name: str) -> None:
    assert codes(parse_parts(f"schema.int('{name}')")) == ["F120"]


@pytest.mark.parametrize("kind", ["slug", "email", "url"])
def test_without_a_length_of_its_own_a_text_type_has_the_implied_one(kind: str) -> None:
    assert resource(f"schema.{kind}('x')").fields[0].max_len is None


def test_roles_and_choices_are_tuples_however_they_are_written() -> None:
    found = resource(
        "schema.enum('x', ['a', 'b'], visible_to=['r', 's'])",
        "schema.belongs_to('Thing', writable_by=('r',))",
        "schema.permission('read', ['r'])",
    )
    assert (found.fields[0].choices, found.fields[0].visible_to) == (("a", "b"), ("r", "s"))
    assert found.relations[0].writable_by == ("r",)
    assert found.permissions[0].roles == ("r",)


def test_a_field_says_everything_that_was_written() -> None:
    text = (
        "schema.string('x', required=True, unique=True, index=True, searchable=True, min_len=1,"
        " max_len=9, pattern='[a-z]+', default='abc', label='L', placeholder='P', help='H')"
    )
    (field,) = resource(text).fields
    assert (field.min_len, field.max_len, field.pattern) == (1, 9, "[a-z]+")
    assert (field.label, field.placeholder, field.help) == ("L", "P", "H")
    assert field.required and field.unique and field.index and field.searchable
