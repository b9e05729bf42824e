"""The inputs of a form: a browser must hold what stands in them as it is."""

from __future__ import annotations

from decimal import Decimal

import pytest
from forge_min.actions import Column
from forge_min.html.fields import FormField
from forge_min.html.inputs import control


def shown(kind: str, written: str) -> str:
    return control(FormField("x", kind, {"min": 0}), [written] if written else [])


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("email", "jürgen@example.com"),  # refused: nobody could save the form
        ("email", "a@exämple.com"),  # sent back as a@xn--exmple-cua.com
        ("decimal", "9" * 400),  # sent back empty, as all below
        ("decimal", "1e999"),
        ("int", "abc"),
        ("int", "+5"),
        ("date", "yesterday"),
        ("date", "2026-02-30"),
        ("datetime", "2026-02-03"),
        ("datetime", "2026-02-03T10:00Z"),
    ],
)
def test_what_browsers_would_change_or_refuse_is_text(kind: str, written: str) -> None:
    assert 'type="text"' in shown(kind, written)
    assert f'value="{written}"' in shown(kind, written)
    assert " min=" not in shown(kind, written)


@pytest.mark.parametrize(
    ("kind", "written", "type"),
    [
        ("email", "", "email"),
        ("email", "a@example.com", "email"),
        ("int", "", "number"),
        ("decimal", "-0.1", "number"),
        ("bigint", "-9223372036854775808", "number"),
        ("date", "", "date"),
        ("date", "0800-02-28", "date"),
        ("datetime", "2026-02-03T10:00", "datetime-local"),
        ("datetime", "2026-02-03T10:00:01", "datetime-local"),
    ],
)
def test_else_an_input_is_of_the_kind_of_its_field(kind: str, written: str, type: str) -> None:
    assert f'type="{type}"' in shown(kind, written)
    assert (" min=" in shown(kind, written)) == (type in ("number", "date"))


def test_a_limit_with_a_fraction_is_one_that_html_reads() -> None:
    made = control(FormField("x", "decimal", {"min": Decimal("0.001"), "max": Decimal("1E-7")}), [])
    assert 'min="0.001"' in made and 'max="0.0000001"' in made and 'step="any"' in made


def test_a_list_has_a_text_in_each_option_and_is_required_only_where_one_is_empty() -> None:
    column = Column("x", "enum", choices=("a", "b"))
    field = FormField("x", "enum", {"required": True}, column=column)
    new, chosen = control(field, []), control(field, ["b"])
    assert '<option value="">–</option>' in new and " required" in new
    assert 'value=""' not in chosen and 'aria-required="true"' in chosen
    assert " required" not in chosen
    optional = control(FormField("x", "bool"), ["true"])
    assert '<option value="">–</option>' in optional and "required" not in optional


def test_what_has_a_picker_has_no_placeholder() -> None:
    column = Column("x", "date", placeholder="31 December")
    assert "placeholder" not in control(FormField("x", "date", column=column), [])
    assert "31 December" in control(FormField("x", "date", column=column), ["soon"])
