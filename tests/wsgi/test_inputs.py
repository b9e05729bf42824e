"""The inputs of a form: a browser must hold what stands in them as it is."""

from __future__ import annotations

import pytest
from forge_min.wsgi.views.fields import Field
from forge_min.wsgi.views.inputs import control


def shown(kind: str, written: str) -> str:
    return control(Field("x", kind, {"min": 0}), [written] if written else [])


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("email", "jürgen@example.com"),  # refused: nobody could save the form
        ("email", "a@exämple.com"),  # sent back as a@xn--exmple-cua.com
        ("decimal", "9" * 400),  # sent back empty
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
        ("decimal", "-0.1", "number"),
        ("bigint", "-9223372036854775808", "number"),
    ],
)
def test_else_an_input_is_of_the_kind_of_its_field(kind: str, written: str, type: str) -> None:
    assert f'type="{type}"' in shown(kind, written) and " min=" in shown(kind, written)
