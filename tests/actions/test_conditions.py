"""A condition of a schema is the same in Python and in PostgreSQL, with nulls too."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from forge_min import db
from forge_min.actions.conditions import evaluate
from forge_min.migrations.conditions import condition_sql
from forge_min.parse.condition import ConditionError, check_condition, condition_fields
from forge_min.parse.ir import ColumnIR
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.db
TYPES: dict[str, Any] = {
    "a": "int", "select": "bigint", "d": "decimal", "t": "text", "u": "string", "e": "enum",
    "f": "bool", "day": "date", "other_day": "date", "at": "datetime", "w": "float", "o": "time",
    "l": "duration", "other_l": "duration", "z": "int[]",
}  # fmt: skip
SQL = {"a": "integer", "select": "bigint", "d": "numeric", "f": "boolean", "at": "timestamptz"}
SQL |= {"day": "date", "other_day": "date", "w": "double precision", "o": "time"}
SQL |= {"l": "interval", "other_l": "interval", "z": "integer[]"}
COLUMNS = {
    name: ColumnIR(name, kind, choices=("x", "it's") if kind == "enum" else ())
    for name, kind in TYPES.items()
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "a": st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 2),
    "select": st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2),
    "d": st.decimals(-1000, 1000, places=2),
    "t": st.sampled_from(["", "x", "it's", "é%_\\"]),
    "u": st.sampled_from(["", "x", "it's"]),
    "e": st.sampled_from(["x", "it's"]),
    "f": st.booleans(),
    "day": st.dates(date(2000, 1, 1), date(2000, 1, 3)),
    "other_day": st.dates(date(2000, 1, 1), date(2000, 1, 3)),
    "w": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.1, 1.5, 7.0, 1e16]),
    "o": st.sampled_from([time(8), time(8, 0, 0, 1), time(23, 59, 59)]),
    "l": st.timedeltas(timedelta(), timedelta.max) | st.sampled_from([timedelta(1), timedelta(30)]),
    "other_l": st.sampled_from([timedelta(1), timedelta(30), timedelta(hours=720, microseconds=1)]),
    "z": st.lists(st.integers(-5, 5), max_size=2),
    "at": st.sampled_from([datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 2, tzinfo=UTC)]),
}
ROWS = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})
ORDER = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
EQUAL = st.sampled_from(["==", "!="])
TEXTS = st.sampled_from(["t", "u", "'x'", '"it\'s"', "''", "'é%_\\\\'"])


def numbers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.tuples(inner, st.sampled_from("+-*"), inner)
    return inner.map(lambda x: f"-({x})") | binary.map(lambda p: f"({p[0]} {p[1]} {p[2]})")


PLAIN = st.sampled_from(
    ["a", "select", "d", "w", "0.1", "0", "1.5", "1e3", "7", "len(t)", "len('it')"]
)
NUMBERS = st.recursive(PLAIN, numbers, max_leaves=4)


def joined(left: Any, sign: Any, right: Any) -> st.SearchStrategy[str]:
    return st.tuples(left, sign, right).map(" ".join)


COMPARISONS = st.one_of(
    joined(NUMBERS, ORDER, NUMBERS),
    st.tuples(NUMBERS, ORDER, st.sampled_from(["a", "d", "7"]), ORDER, NUMBERS).map(" ".join),
    joined(TEXTS, EQUAL, TEXTS),
    joined(st.just("e"), st.sampled_from(["in", "not in"]), st.just("['x', \"it's\"]")),
    joined(NUMBERS, st.sampled_from(["in", "not in"]), st.sampled_from(["[1, a]", "(0, 1, 2)"])),
    joined(st.just("day"), ORDER, st.just("other_day")),
    joined(st.just("at"), ORDER, st.just("at")),
    joined(st.just("o"), ORDER, st.just("o")),
    joined(st.just("l"), ORDER, st.just("other_l")),
    joined(st.sampled_from([*TYPES]), st.sampled_from(["is", "is not"]), st.just("None")),
    st.sampled_from(["f", "True", "False", "f == True", "f != f"]),
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: (
        inner.map(lambda x: f"not ({x})")
        | st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
            lambda p: f"({p[0]}) {p[1]} ({p[2]})"
        )
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def conn(server: Any) -> Any:
    with db.connect(server.admin_url) as made:
        yield made


@pytest.mark.hypothesis
@settings(max_examples=600)
@given(condition=CONDITIONS, row=ROWS)
def test_python_and_postgresql_agree(conn: db.Connection, condition: str, row: Any) -> None:
    condition = condition[:500]
    try:
        check_condition(condition, COLUMNS)
    except ConditionError:
        assert len(condition) == 500 or not condition_fields(condition)  # cut, or constant
        return
    columns = ", ".join(f'%({name})s::{SQL.get(name, "text")} as "{name}"' for name in TYPES)
    sql = condition_sql(condition, COLUMNS).replace("%", "%%")
    ((real,),) = conn.execute(f"select {sql} from (select {columns}) as x", row).fetchall()
    assert evaluate(condition, row) is real, sql


@pytest.mark.parametrize(
    ("condition", "row", "result"),
    [
        ("a > 1", {"a": None}, None),
        ("a > 1 or d > 1", {"a": None, "d": Decimal(2)}, True),
        ("a > 1 and d > 1", {"a": None, "d": Decimal(1)}, False),
        ("not a > 1", {"a": None}, None),
        ("a is None", {"a": None}, True),
        ("d == 0.1", {"d": Decimal("0.1")}, True),
        ("1 < a < 3", {"a": 2}, True),
        ("w == 0.1", {"w": 0.1}, True),
        ("w * 3 == 0.3", {"w": 0.1}, True),
        ("w * w > w", {"w": 1.5e300}, True),
        ("a in [1, d]", {"a": 2, "d": None}, None),
        ("not (a not in [1, d])", {"a": 2, "d": None}, None),
        ("-d == -10000000000000000000000000000000000001", {"d": Decimal(10**37 + 1)}, True),
        # 32 digits before the point, and the fourth behind it decides
        ("d * d > 100000000000000000200000000000000", {"d": Decimal("10000000000000000.01")}, True),
    ],
)
def test_a_comparison_with_null_is_unknown(condition: str, row: Any, result: object) -> None:
    assert evaluate(condition, row) is result
