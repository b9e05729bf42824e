"""What a change of type may cost."""

from __future__ import annotations

import pytest
from forge_min.migrations.plan import narrows, using

TIME = "timestamp with time zone"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("character varying(5)", "character varying(6)"),
        ("character varying(5)", "text"),
        ("integer", "bigint"),
        ("integer", "numeric"),
        ("numeric(6,2)", "numeric(8,2)"),
        ("numeric(6,2)", "numeric(8,4)"),
        ("numeric(6,2)", "numeric"),
        ("numeric(6,0)", "numeric(6)"),
        ("date", TIME),
        ("uuid", "text"),
        ("jsonb", "text"),
        ("integer", "double precision"),
    ],
)
def test_these_hold_every_value_of_before_but_not_the_other_way(old, new):
    assert not narrows(old, new)
    assert narrows(new, old) or new == "numeric(6)"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("numeric(6,2)", "numeric(6,3)"),
        ("text", "integer"),
        ("integer", "boolean"),
        ("integer", "character varying(3)"),
        ("integer", "numeric(5,2)"),
        ("text", "jsonb"),
        ("text", "text[]"),
        ("text[]", "integer[]"),
        ("bigint", "double precision"),
        ("double precision", "numeric"),
        ("interval", "time without time zone"),
    ],
)
def test_these_may_lose_something(old, new):
    assert narrows(old, new)


def test_a_string_is_assigned_and_all_else_is_cast():
    assert using("a", "character varying(3)") == ""
    assert using("a", "integer") == " using a::integer"
