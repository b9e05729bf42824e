"""Any text is a condition or one mistake, and what is accepted can be compiled and evaluated."""

from __future__ import annotations

from typing import Any

import pytest
from forge_min.actions.conditions import evaluate
from forge_min.migrations.conditions import condition_sql
from forge_min.parse.condition import ConditionError, check_condition
from forge_min.parse.ir import ColumnIR
from hypothesis import given, settings
from hypothesis import strategies as st

from .helpers import codes, marked, parse_parts

TYPES: dict[str, Any] = {"a": "int", "d": "decimal", "t": "text", "f": "bool", "j": "json"}
TYPES |= {"w": "float", "l": "duration", "z": "int[]"}
COLUMNS = {name: ColumnIR(name, kind) for name, kind in TYPES.items()}
TOKENS = (
    *("w", "l", "z"),
    *("a", "d", "t", "f", "j", "x", "1", "1.5", "'x'", "True", "None", "(", ")", "[", "]", ","),
    *("and", "or", "not", "in", "is", "<", "==", "+", "-", "*", "/", "**", "len(t)", "len", "if"),
    *("else", "lambda:", ".", ":=", "f'{a}'", "b'x'", "...", "~", "@", "await", "1e999", "0x1F"),
    *("'; drop table x; --'", "\\", "\n", "#", "%s", "{a}"),
)
TEXTS = st.lists(st.sampled_from(TOKENS), max_size=12).map(" ".join) | st.text(max_size=40)


@pytest.mark.hypothesis
@settings(max_examples=2000)
@given(text=TEXTS)
def test_a_text_is_a_condition_or_one_mistake(text: str) -> None:
    try:
        check_condition(text, COLUMNS)
    except ConditionError as err:
        assert err.problem.code in ("F153", "F154")
        return
    assert evaluate(text, dict.fromkeys(TYPES)) in (True, False, None)
    sql = condition_sql(text, COLUMNS)
    assert ";" not in sql.replace("'; drop table x; --'", "")


def test_a_mistake_in_a_condition_has_its_own_place() -> None:
    parsed_file = parse_parts("schema.check('version > 1 and versoin < 3', 'no')")
    assert codes(parsed_file) == ["F153"] and marked(parsed_file.diagnostics[0]) == "versoin"
    assert "version" in parsed_file.diagnostics[0].hint
    escaped = parse_parts("schema.check('version > 1 and vers' 'oin < 3', 'no')")
    assert codes(escaped) == ["F153"]  # the place is that of the whole text
