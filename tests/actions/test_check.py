"""The validator takes what PostgreSQL takes, refuses the rest, and names every error at once."""

from __future__ import annotations

import copy
import json
import pickle
import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from forge_min.actions import Actions, Check, Column, Resource
from forge_min.actions.check import MOST_KEYS, fits
from forge_min.actions.values import JSON_DEPTH, TYPES, read_text, to_text
from forge_min.errors import Invalid
from forge_min.testing import TestDatabase
from forge_min.wsgi.response import to_json
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

A_UUID = "0198b6a0-0000-7000-8000-000000000001"
NUL, LONE = "a\x00b", "a\ud800b"


def read(kind: str, value: object, /, *args: Any, **rules: Any) -> Any:
    """The value that a field of this kind reads. Raises Invalid."""
    check = Check({"x": value})
    if kind.endswith("[]"):
        kind, args, rules = "array", (kind.removesuffix("[]"),), {"max_items": 9}
    getattr(check, kind)("x", *args, **rules)
    return check.result()["x"]


def wrong(kind: str, value: object, /, *args: Any, **rules: Any) -> list[str]:
    """The codes of the errors of a value."""
    with pytest.raises(Invalid) as caught:
        read(kind, value, *args, **rules)
    assert all(e.pointer.startswith("/x") and e.message for e in caught.value.errors)
    return [e.code for e in caught.value.errors]


# -- types -----------------------------------------------------------------------------------------

GOOD = [
    ("string", "ß\n", "ß\n"),
    ("text", "", ""),
    ("int", -(2**31), -(2**31)),
    ("int", Decimal("5.0"), 5),
    ("int", Decimal("-1E2"), -100),
    ("bigint", 2**63 - 1, 2**63 - 1),
    ("bigint", Decimal("9223372036854775807.0"), 2**63 - 1),
    ("decimal", "1.10", Decimal("1.10")),
    ("decimal", Decimal("1E3"), Decimal(1000)),
    ("decimal", 7, Decimal(7)),
    ("bool", False, False),
    ("datetime", "2026-11-25T10:30:00.5+02:00", datetime(2026, 11, 25, 8, 30, 0, 500000, UTC)),
    ("datetime", "2026-11-25 08:30:00z", datetime(2026, 11, 25, 8, 30, tzinfo=UTC)),
    (
        "datetime",
        datetime(2026, 11, 25, 10, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 11, 25, 8, tzinfo=UTC),
    ),
    ("date", "2024-02-29", date(2024, 2, 29)),
    ("date", date(2024, 2, 29), date(2024, 2, 29)),
    ("time", "00:00:00", time()),
    ("time", "23:59:59.5", time(23, 59, 59, 500000)),
    ("time", time(8, 30, 0, 1), time(8, 30, 0, 1)),
    ("duration", "P999999999DT23H59M59.999999S", timedelta.max),
    ("duration", "P1W", timedelta(7)),
    ("duration", timedelta(), timedelta()),
    ("float", 5, 5.0),
    ("float", Decimal("1E-400"), 0.0),
    ("float", -0.0, 0.0),
    ("float", Decimal("1.7976931348623157E308"), 1.7976931348623157e308),
    ("uuid", A_UUID.upper(), UUID(A_UUID)),
    ("uuid", UUID(A_UUID), UUID(A_UUID)),
    ("slug", "a1-b2-3", "a1-b2-3"),
    ("email", "Jane.O'Hara+x@Example.co.uk", "Jane.O'Hara+x@Example.co.uk"),
    ("email", "用户@例え.jp", "用户@例え.jp"),
    ("email", "a@xn--bcher-kva.ch", "a@xn--bcher-kva.ch"),
    ("email", "a" * 64 + "@b.de", "a" * 64 + "@b.de"),
    ("url", "HTTPS://user@[::1]:8080/ä?q=%20#x", "HTTPS://user@[::1]:8080/ä?q=%20#x"),
    ("url", "http://localhost", "http://localhost"),
]
NUMBERS = ("int", "bigint", "decimal", "float")
BAD: list[tuple[str, object]] = [
    *(
        (kind, value)
        for kind in ("string", "text", "slug", "email", "url")
        for value in (NUL, LONE)
    ),
    *((kind, 5) for kind in TYPES if kind not in (*NUMBERS, "enum", "json")),
    *((kind, True) for kind in TYPES if kind not in ("bool", "enum", "json")),
    *((kind, ["x"]) for kind in TYPES if kind not in ("enum", "json", "string[]", "enum[]")),
    *((kind, [None]) for kind in ("string[]", "int[]", "enum[]")),
    ("float", "5"),
    ("float", Decimal("1E999999999")),
    ("float", -(10**400)),
    ("float", float("inf")),
    ("float", Decimal("NaN")),
    ("time", "08:30"),
    ("time", "24:00:00"),
    ("time", "23:59:60"),
    ("time", "08:30:00Z"),
    ("time", "08:30:00,5"),
    ("time", "08:30:00.1234567"),
    ("time", "٠٨:30:00"),
    ("time", time(8, tzinfo=UTC)),
    ("time", datetime(2026, 11, 25, 8)),
    ("duration", "1:30:00"),
    ("duration", "P1M"),
    ("duration", "P1Y"),
    ("duration", "PT1.5H"),
    ("duration", "PT0.1234567S"),
    ("duration", "P1000000000D"),
    ("duration", "P"),
    ("duration", "-PT1S"),
    ("duration", timedelta(microseconds=-1)),
    ("int", 2**31),
    ("int", "5"),
    ("int", Decimal("5.1")),
    ("int", Decimal("1E999999999")),
    ("int", Decimal("1E-999999999")),
    ("int", Decimal("2147483648.0")),
    ("int", Decimal("NaN")),
    ("int", 5.0),
    ("bigint", -(2**63) - 1),
    ("decimal", "1e3"),
    ("decimal", "1,5"),
    ("decimal", "٣"),
    ("decimal", 0.5),
    ("decimal", Decimal("NaN")),
    ("decimal", Decimal("-Infinity")),
    ("bool", "true"),
    ("datetime", "2026-11-25T10:30:00"),
    ("datetime", datetime(2026, 11, 25, 10)),
    ("datetime", "2026-11-25"),
    ("datetime", "2026-11-25T23:59:60Z"),
    ("datetime", "0001-01-01T00:00:00+01:00"),
    ("datetime", "9999-12-31T23:59:59-01:00"),
    ("date", "2026-02-29"),
    ("date", "20260228"),
    ("date", datetime(2026, 11, 25, tzinfo=UTC)),
    ("uuid", A_UUID[:-1]),
    ("uuid", "{" + A_UUID[:-2] + "}"),
    ("uuid", "0x" + A_UUID[2:]),
    ("uuid", A_UUID[:-4] + "1_23"),
    ("slug", "A"),
    ("slug", "a--b"),
    ("slug", "-a"),
    ("slug", "a\n"),
    ("slug", "ä"),
    ("email", "a"),
    ("email", "a@b"),
    ("email", "@b.de"),
    ("email", "a@b@c.de"),
    ("email", "a b@c.de"),
    ("email", '"a"@c.de'),
    ("email", "a@b.de\n"),
    ("email", "a\u200b@b.de"),
    ("email", "a\x7f@b.de"),
    ("email", "a,b@c.de"),
    ("email", "a@-b.de"),
    ("email", "a@b..de"),
    ("email", "a" * 65 + "@b.de"),
    ("email", "a@" + "b" * 64 + ".de"),
    ("email", "a@" + "b." * 130 + "de"),
    ("url", "ftp://a.b"),
    ("url", "javascript:alert(1)"),
    ("url", "//a.b"),
    ("url", "http://%zz/"),
    ("url", "http://a.b/?q=100%"),
    ("url", "http://a.b:65536/"),
    ("url", "http://[1]/"),
    ("url", "http://[::1::]/"),
    ("url", "http://"),
    ("url", "http://?x"),
    ("url", "http://a b"),
    ("url", "http://a.b/\n"),
    ("url", " http://a.b"),
    ("url", "http://a.b\\@c"),
    ("url", 'http://a.b/"x'),
    ("url", "http://a:x/"),
    ("url", "http://@/"),
    ("url", "http://[::1/"),
]


@given(st.integers(0, 2**128 - 1))
@example(0)
def test_a_uuid_is_like_any_other(number: int) -> None:
    """It is made without UUID's own __init__."""
    made, other = read_text("uuid", str(UUID(int=number))), UUID(int=number)
    assert (made, str(made), hash(made)) == (other, str(other), hash(other))
    assert (made.is_safe, pickle.dumps(made)) == (other.is_safe, pickle.dumps(other))
    assert copy.deepcopy(made) == other and repr(made) == repr(other)
    with pytest.raises(TypeError):
        made.int = 0


@pytest.mark.parametrize(("kind", "value", "wanted"), GOOD)
def test_a_value_becomes_what_the_row_holds(kind: str, value: object, wanted: object) -> None:
    got = read(kind, value)
    assert got == wanted and type(got) is type(wanted)


@pytest.mark.parametrize(("kind", "value"), BAD)
def test_a_value_of_another_type_is_refused(kind: str, value: object) -> None:
    assert wrong(kind, value) == ["type"]


@pytest.mark.parametrize("kind", sorted(set(TYPES) - {"json"}))
def test_a_value_survives_its_text(kind: str) -> None:
    for value in [w for k, _, w in GOOD if k == kind]:
        assert read_text(kind, to_text(value)) == value


# -- rules -----------------------------------------------------------------------------------------


def test_lengths_are_in_characters() -> None:
    assert read("string", "äöü", max_len=3, min_len=3) == "äöü"
    assert wrong("string", "𝄞𝄞", max_len=1) == ["too_long"]
    assert wrong("text", "ä", min_len=2) == ["too_short"]
    assert wrong("slug", "a" * 101) == ["too_long"]
    assert wrong("slug", "a" * 9, max_len=8) == ["too_long"]
    assert wrong("url", "http://a.b/" + "x" * 2038) == ["too_long"]
    assert wrong("email", "a@b.de", min_len=9) == ["too_short"]


def test_the_whole_value_must_match_the_pattern() -> None:
    assert read("string", "AB12", pattern=r"[A-Z]+|AB\d+") == "AB12"
    for value in ("AB12\n", "xAB", "AB١"):
        assert wrong("string", value, pattern=r"[A-Z]+|AB\d+") == ["pattern"]


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        (("Two letters, as DE", "FR"), "does not have the expected form: Two letters, as DE"),
        (("", "FR"), "does not have the expected form, for example FR"),
        (("", ""), "does not have the expected form"),
    ],
)
def test_a_wrong_form_is_explained_in_the_words_of_the_schema(
    hint: tuple[str, str], message: str
) -> None:
    check = Check({"code": "de", "other": "x"}, hints={"code": hint})
    check.string("code", pattern="[A-Z]{2}")
    check.string("other", pattern="[A-Z]{2}")
    assert [(e.pointer, e.code, e.message) for e in check.errors] == [
        ("/code", "pattern", message),
        ("/other", "pattern", "does not have the expected form"),
    ]


def test_actions_explain_a_wrong_form_by_the_help_of_the_column() -> None:
    class Countries(Actions[Any, Any, Any]):
        resource = Resource(
            name="Country",
            event="country",
            table="countries",
            topic="countries",
            columns=(Column("id", "uuid"), Column("code", "string", help="Two letters, as DE")),
            row=dict,
            to_json=dict,
            check=lambda c: c.string("code", pattern="[A-Z]{2}"),
            select="",
            insert="",
            insert_many="",
        )

    with pytest.raises(Invalid) as caught:
        Countries(cast(Any, None)).create({"code": "germany"})
    (error,) = caught.value.errors
    assert error.message == "does not have the expected form: Two letters, as DE"


@pytest.mark.parametrize("kind", ["int", "bigint", "decimal"])
def test_bounds_belong_to_the_range(kind: str) -> None:
    assert read(kind, 0, min=0, max=9) == 0 and read(kind, 9, min=0, max=9) == 9
    assert wrong(kind, -1, min=0) == ["too_small"]
    assert wrong(kind, 10, max=9) == ["too_large"]


@pytest.mark.parametrize(
    ("value", "fitting"),
    [
        ("0", True),
        ("999.99", True),
        ("1000", False),
        ("0.001", False),
        ("1.500000", True),
        ("0E+900", True),
        ("1E+2", True),
        ("1E+3", False),
        ("1E+999999999", False),
        ("1E-999999999", False),
        ("-999.99", True),
        ("0." + "0" * 16_383, True),
        ("0." + "0" * 16_384, False),
        ("1." + "0" * 16_383, True),
        ("1." + "0" * 900_000, False),
        ("0.0000", True),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_decimal_is_taken_only_when_its_column_holds_it_exactly(
    value: str, fitting: bool
) -> None:
    assert fits(Decimal(value), 5, 2) is fitting
    if not fitting:
        assert wrong("decimal", Decimal(value), precision=(5, 2)) == ["out_of_range"]


def test_a_decimal_of_any_precision_keeps_to_what_can_be_read_again() -> None:
    assert read("decimal", Decimal("1E-1000")) == Decimal("1E-1000")
    assert read("decimal", "9" * 1000) == Decimal("9" * 1000)  # as it is written, so it is read
    for value in ("1E-1001", "1E+1000", "0E+999999999999999999", "0E-16384"):
        assert wrong("decimal", Decimal(value)) == ["out_of_range"]


def test_an_enum_takes_its_choices_only() -> None:
    assert read("enum", "a", ("a", "b")) == "a"
    assert wrong("enum", "c", ("a", "b")) == ["not_a_choice"]
    assert wrong("enum", 1, ("a", "b")) == ["type"]


def test_absent_and_null_are_two_things() -> None:
    def of(data: dict[str, object], operation: Any) -> Check:
        check = Check(data, operation=operation)
        check.string("name", required=True)
        check.int("size", default=3)
        check.json("meta")
        return check

    assert of({"name": "x"}, "create").result() == {"name": "x", "size": 3, "meta": None}
    assert of({"name": "x", "size": None}, "replace").result()["size"] is None
    assert of({}, "update").result() == {}
    assert of({"size": None}, "update").result() == {"size": None}
    assert [e.message for e in of({}, "create").errors] == ["is required"]
    for operation in ("create", "update", "replace"):
        check = of({"name": None}, operation)
        assert [(e.pointer, e.code) for e in check.errors] == [("/name", "required")]


def test_a_rule_of_the_user_knows_what_is_done_to_which_row() -> None:
    assert (Check({}).operation, Check({}).id) == ("create", None)
    check = Check({}, operation="update", id=7)
    assert (check.operation, check.partial, check.id) == ("update", True, 7)
    assert not Check({}, operation="replace").partial


def test_a_replacement_leaves_locked_fields_that_are_absent_alone() -> None:
    def of(data: dict[str, object], locked: list[str]) -> Check:
        check = Check(data, operation="replace", locked=locked)
        check.string("code", required=True)
        check.int("size", default=3)
        check.many("tag_ids", "uuid")
        return check

    assert of({}, ["code", "size", "tag_ids"]).result() == {}
    assert of({"code": "x"}, ["size", "tag_ids", "code"]).result() == {"code": "x"}
    assert [e.pointer for e in of({}, ["size"]).errors] == ["/code"]


def test_every_error_is_told_at_once_with_its_pointer() -> None:
    check = Check({"a/b": 1, "~": 1, "n": "x", "k": ["x", A_UUID, 5], "m": {}})
    check.string("s", required=True)
    check.int("n")
    check.many("k", "uuid")
    check.many("m", "uuid")
    check.unknown()
    with pytest.raises(Invalid) as caught:
        check.result()
    found = [(e.pointer, e.code) for e in caught.value.errors]
    assert found == [
        ("/s", "required"),
        ("/n", "type"),
        ("/k/0", "type"),
        ("/k/2", "type"),
        ("/m", "type"),
        ("/a~1b", "unknown"),
        ("/~0", "unknown"),
    ]


def test_a_body_of_nothing_but_unknown_fields_makes_no_endless_answer() -> None:
    check = Check({f"f{n}": n for n in range(5000)})
    check.unknown()
    assert len(check.errors) == 100


# -- lists of keys ---------------------------------------------------------------------------------


def test_keys_are_a_list_without_repetition() -> None:
    ids = [str(uuid4()) for _ in range(MOST_KEYS)]
    assert read("many", ids, "uuid") == [UUID(i) for i in ids]
    assert read("many", [], "string") == []
    assert wrong("many", [*ids, A_UUID], "uuid") == ["too_long"]
    assert wrong("many", [A_UUID, A_UUID.upper()], "uuid") == ["duplicate"]
    for value in (None, "x", 5, {}, True):
        assert wrong("many", value, "string") == ["type"]
    assert wrong("many", [None, True, 1.5, [1], {}], "bigint") == ["type"] * 5


def test_a_key_that_is_longer_than_its_column_never_reaches_the_table() -> None:
    assert read("many", ["abc"], "slug", max_len=3) == ["abc"]
    assert wrong("many", ["abc", "abcd"], "slug", max_len=3) == ["type"]


def test_decimals_are_written_in_digits_whatever_their_exponent() -> None:
    for value in (Decimal("1E-7"), Decimal("1E+3"), Decimal("0E-9"), Decimal("-1.10")):
        assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", to_text(value))
        assert read_text("decimal", to_text(value)) == value
        assert json.loads(to_json({"x": value})) == {"x": to_text(value)}
    with pytest.raises(Invalid) as caught:
        read("decimal", "0", min=Decimal("1E-7"))
    assert caught.value.errors[0].message == "must be at least 0.0000001"


def test_a_time_whose_zone_knows_no_offset_is_none() -> None:
    class Nowhere(tzinfo):
        def utcoffset(self, moment: object) -> None:
            return None

    assert wrong("datetime", datetime(2026, 1, 1, tzinfo=Nowhere())) == ["type"]


def test_absent_keys_are_none_unless_the_change_is_partial() -> None:
    for operation, wanted in (("create", {"k": []}), ("replace", {"k": []}), ("update", {})):
        check = Check({}, operation=operation)  # type: ignore[arg-type]
        check.many("k", "int")
        assert check.result() == wanted


# -- json ------------------------------------------------------------------------------------------


def nested(depth: int, value: Any = 1) -> Any:
    for n in range(depth):
        value = [value] if n % 2 else {"a": value}
    return value


def test_json_is_plain_for_rules_and_wrapped_for_the_statement() -> None:
    given = {"a": [1, Decimal("0.5"), "ß", None, True, 2**70], "b": (1,)}
    check = Check({"x": given, "y": None})
    check.json("x")
    check.json("y")
    plain = {"a": [1, 0.5, "ß", None, True, 2**70], "b": [1]}
    assert check.values["x"] == plain
    result = check.result()
    assert isinstance(result["x"], Jsonb) and result["x"].obj == plain and result["y"] is None
    assert check.result()["x"] is result["x"]


def test_a_rule_may_change_a_json_value_before_it_is_wrapped() -> None:
    for changed in (None, [2], Jsonb([2])):
        check = Check({"x": [1]})
        check.json("x")
        check.values["x"] = changed
        got = check.result()["x"]
        assert got is None if changed is None else got.obj == [2]


@pytest.mark.parametrize(
    "value",
    [NUL, [LONE], {NUL: 1}, {LONE: 1}, {1: 1}, b"x", {"a": {1}}, nested(JSON_DEPTH + 1)]
    + [float("nan"), [float("inf")], Decimal("1E400"), -(10**400), Decimal("sNaN"), date.min],
    ids=repr,
)
def test_json_that_postgresql_or_a_reader_cannot_hold_is_refused(value: object) -> None:
    assert wrong("json", value) == ["type"]


def test_json_of_the_deepest_kind_is_taken() -> None:
    assert read("json", nested(JSON_DEPTH)).obj == nested(JSON_DEPTH)


def test_json_in_a_cell_is_parsed_and_what_is_none_is_refused() -> None:
    assert read_text("json", '{"a": [1, "2"]}') == {"a": [1, "2"]}
    assert read_text("json", "null") is None
    for cell in ("", "{", "NaN", "[1e999]", "[" * 100_000):
        with pytest.raises(ValueError, match="must "):
            read_text("json", cell)


# -- anything that JSON can say --------------------------------------------------------------------

COLUMNS = {
    "string": "varchar(5)",
    "text": "text",
    "int": "integer",
    "bigint": "bigint",
    "decimal": "numeric(9,3)",
    "bool": "boolean",
    "datetime": "timestamptz",
    "date": "date",
    "uuid": "uuid",
    "enum": "text check (v in ('a', 'b'))",
    "json": "jsonb",
    "slug": "varchar(100) check (v ~ '^[a-z0-9]+(-[a-z0-9]+)*$')",
    "email": "varchar(320)",
    "url": "text check (char_length(v) <= 2048)",
    "many": "uuid[]",
    "any_decimal": "numeric",
}
RULES: dict[str, dict[str, Any]] = {
    "string": {"max_len": 5},
    "decimal": {"precision": (9, 3)},
    "enum": {"choices": ("a", "b")},
    "many": {"type": "uuid"},
}

words = st.sampled_from([*(str(v) for _, v, _ in GOOD), *(v for _, v in BAD if isinstance(v, str))])
likely = st.one_of(
    words,
    st.text(st.characters(), max_size=8),
    st.from_regex(r"[a-z0-9-]{1,4}", fullmatch=True),
    st.from_regex(r"[^ ]{1,5}@[^ ]{1,5}\.[a-zä]{1,3}", fullmatch=True),
    st.from_regex(r"(?i)https?://[^ ]{1,9}", fullmatch=True),
    st.from_regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9](T[0-2][0-9]:00:00(Z|\+0[0-9]:00))?"),
    st.from_regex(r"-?[0-9]{1,9}(\.[0-9]{1,5})?", fullmatch=True),
    st.uuids().map(str),
)
numbers = st.one_of(
    st.integers(),
    st.sampled_from([2**31, 2**63, -(2**63), 10**400]),
    st.decimals(),
    st.from_regex(r"-?[1-9]\.[0-9]{1,30}E[+-]?[0-9]{1,6}", fullmatch=True).map(Decimal),
)
anything = st.recursive(
    st.none() | st.booleans() | likely | numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(likely, inner, max_size=3),
    max_leaves=8,
)
keys = st.lists(st.uuids().map(str) | likely, max_size=4)
scalars = {"int": numbers, "bigint": numbers, "decimal": numbers, "many": keys}


@pytest.mark.db
@pytest.mark.parametrize("kind", COLUMNS)
def test_what_the_validator_takes_postgresql_takes_and_gives_back(
    kind: str, fresh_database: TestDatabase
) -> None:
    with psycopg.connect(fresh_database.owner_url, autocommit=True) as conn:
        conn.execute("set time zone 'UTC'")
        conn.execute(f"create temp table t (v {COLUMNS[kind]})")

        @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @example(Decimal("1.0E100"))
        @given(scalars.get(kind, likely) | anything)
        def inserted(value: object) -> None:
            check = Check({"v": value})
            getattr(check, kind.removeprefix("any_"))("v", **RULES.get(kind, {}))
            try:
                taken = check.result()["v"]
            except Invalid as err:
                assert all(re.match(r"/v(/\d+)?$", e.pointer) for e in err.errors)
                return
            (back,) = (
                conn.execute("insert into t values (%s) returning v", [taken]).fetchone() or ()
            )
            if isinstance(taken, Jsonb):  # which writes no exponents
                assert TYPES["json"].read(back) == taken.obj
                assert json.loads(to_json(back)) == taken.obj
            else:
                assert back == taken

        inserted()
