"""Times of day, durations, floats, arrays, limits of dates: from JSON to the database and back."""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import inf, nan
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from forge_min import db
from forge_min.actions import ListQuery, Registry, Sort, to_text
from forge_min.actions.lists.cursors import Cursors
from forge_min.auth import Identity, as_identity
from forge_min.db import EmbeddedServer
from forge_min.errors import BadRequest, Invalid
from forge_min.i18n import parse_number
from forge_min.temporal import (
    clock_to_duration,
    format_clock,
    format_duration,
    parse_duration,
    relative_limit,
)
from forge_min.testing import fresh_database
from forge_min.wsgi.response import to_json
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg import Rollback

from wide_project import Migrations, importable

pytestmark = pytest.mark.db
OPERATOR = Identity(user="operator", system=True, tenant=UUID(int=1))

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
TEXTS |= st.sampled_from(["", "null", "NULL", "{}", '{"a",b}', "\\", '"', " a ", "a\nb", "%_'"])
INTS = st.integers(-(2**31), 2**31 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
DURATIONS = st.timedeltas(timedelta(), timedelta.max)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "time": st.times().map(str),
    "opens_at": st.none() | st.times(time(6), time(22, 30)).map(str),
    "length": st.none() | DURATIONS.map(format_duration),
    "pause": st.timedeltas(timedelta(minutes=5), timedelta(14)).map(format_duration),
    "float": FLOATS,
    "weight": st.none() | st.floats(-0.5, 1.5, exclude_max=True).map(lambda number: number + 0.0),
    "tags": st.lists(TEXTS, max_size=5),
    "rooms": st.none() | st.lists(INTS, max_size=4),
    "days": st.none() | st.lists(st.sampled_from(["mon", "it's", "sun"]), max_size=4),
    "starts_on": st.none() | st.dates(date(1900, 1, 1), date(2026, 1, 1)).map(str),
}
ROWS = st.fixed_dictionaries(VALUES)
ROW = {"time": "08:30:00", "pause": "PT30M0S", "float": 1.5, "tags": []}


@pytest.fixture(scope="module")
def courses(
    wide_project: Path, wide_migrations: Migrations, server: EmbeddedServer
) -> Iterator[Any]:
    """The actions of the courses, as the system in one tenant."""
    with (
        importable(wide_project),
        fresh_database(server, wide_migrations) as database,
        as_identity(OPERATOR),
    ):
        registry = Registry(db.Database(database.app_url), {})
        importlib.import_module("gen.registry").register(registry, "/api/v1")
        yield registry.actions["courses"]
        registry.database.close()


def as_sent(values: Any) -> Any:
    """What a request with these values is read as."""
    return json.loads(json.dumps(values), parse_float=parse_number)


def as_received(actions: Any, row: Any) -> Any:
    """A row as a client reads it."""
    return json.loads(to_json(actions.to_json(row)))


def shown(values: Any, row: Any) -> Any:
    return {name: row.get(name) for name in values}


@pytest.mark.hypothesis
@settings(max_examples=150, deadline=None)
@given(values=ROWS, changes=ROWS)
def test_a_value_is_the_same_after_json_and_the_database(
    courses: Any, values: Any, changes: Any
) -> None:
    conn = courses.connection()
    with db.transaction(conn):
        row = courses.create(as_sent(values), conn=conn)
        assert shown(values, as_received(courses, row)) == values
        assert courses.get(row.id, conn=conn) == row
        (entry,) = courses.audit_log(row.id, conn=conn).rows
        assert shown(values, {n: after for n, (_, after) in entry.changes.items()}) == values
        changed = courses.update(row.id, as_sent(changes), conn=conn)
        assert shown(changes, as_received(courses, changed)) == changes
        before = as_received(courses, row)
        if changed != row:
            sql = "select args->'before' from forge_job order by id desc limit 1"
            ((job,),) = db.run(conn, sql)
            plain = {name: as_the_api(name, value) for name, value in job.items()}
            assert shown(values, plain) == shown(values, before)
        found_by_every_filter(courses, changed, conn)
        courses.delete(row.id, conn=conn)
        item = {"id": str(row.id), **as_sent(values)}
        assert courses.create_many([item], conn=conn) == 1
        assert courses.get(row.id, conn=conn) == row
        item |= as_sent(changes)
        assert courses.upsert_many([item], key="id", conn=conn)[:2] == (0, int(changed != row))
        assert shown(changes, as_received(courses, courses.get(row.id, conn=conn))) == changes
        raise Rollback


def as_the_api(name: str, value: Any) -> Any:
    """A value of jsonb, which omits the last zeros of a second and the exponents of numbers."""
    if value is None or name not in ("time", "opens_at", "float", "weight"):
        return value
    return str(time.fromisoformat(value)) if isinstance(value, str) else float(value)


def found_by_every_filter(courses: Any, row: Any, conn: Any) -> None:
    """Each value is a filter for its row as the text of a URL, and each sort has a cursor."""
    for column in courses.resource.columns:
        value = getattr(row, column.name)
        query: dict[str, list[str]] = {}
        if column.type.endswith("[]"):
            query = {f"{column.name}[contains]": [to_text(entry)] for entry in value or ()}
        elif column.filterable and value is not None:
            names = (column.name, f"{column.name}[in]", f"{column.name}[gte]")
            query = dict.fromkeys(names[: 3 if column.sortable else 1], [to_text(value)])
        if query:
            parsed = ListQuery.parse(courses.resource, query)
            assert courses.list(parsed, conn=conn).rows == [row]
        if column.sortable:
            first = courses.list(ListQuery.of(courses.resource, sort=column.name), conn=conn)
            cursors = Cursors(courses.resource, ListQuery(sorts=(Sort(column),)), None, b"x")
            values = [getattr(row, name.name) for name in courses.resource.columns]
            assert cursors.read(cursors.write(values, False)) == cursors.at(values)
            assert first.rows == [row]


ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS,
        st.decimals(allow_nan=False, allow_infinity=False),
        st.sampled_from([10**400, -(2**31) - 1, "2026-02-30", "24:00:00", "23:59:60", "08:30"]),
        st.sampled_from(["08:30:00Z", "08:30:00+01:00", "P1M", "P1Y2D", "-P1D", "P", "PT"]),
        st.sampled_from(["P999999999999D", "PT1.5H", "PT1,5S", "PT0.1234567S", "p1d", "1:30:00"]),
        st.sampled_from(["infinity", "NaN", "today", "now", "1 month", "P1DT", "-infinity"]),
    ),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=8,
)  # fmt: skip
FIELDS = st.sampled_from([*VALUES, "enrolled_at"])


@pytest.mark.hypothesis
@settings(max_examples=400, deadline=None)
@given(values=st.dictionaries(FIELDS, ANYTHING, min_size=1, max_size=3))
@example({"float": Decimal("1E+400")})
@example({"rooms": [1, None]})
@example({"tags": [["a"], ["b"]]})
@example({"days": ["mon", "tue"]})
def test_a_value_is_stored_or_an_error_of_its_field(courses: Any, values: Any) -> None:
    conn = courses.connection()
    with db.transaction(conn):
        try:
            row = courses.create(ROW | values, conn=conn)
        except Invalid as err:
            fields = {error.pointer.split("/")[1] for error in err.errors}
            assert fields <= values.keys() | {"pause", "length", "weight"}
        else:  # and what a client reads it may send again
            sent = {name: as_received(courses, row)[name] for name in values}
            assert courses.update(row.id, as_sent(sent), conn=conn) == row
        raise Rollback


NOW = datetime.now(UTC)
CONDITION = ("/pause", "/length", "/weight")


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({"float": nan}, {"/float": "type"}),
        ({"float": inf}, {"/float": "type"}),
        ({"float": "1.5"}, {"/float": "type"}),
        ({"weight": -0.6}, {"/weight": "too_small"}),
        ({"weight": 1.5e300}, {"/weight": "too_large"}),
        ({"opens_at": "05:59:59.999999"}, {"/opens_at": "too_small"}),
        ({"opens_at": time(23)}, {"/opens_at": "too_large"}),
        ({"time": time(8, tzinfo=UTC)}, {"/time": "type"}),
        ({"pause": "PT4M59S"}, {"/pause": "too_small"}),
        ({"pause": timedelta(15)}, {"/pause": "too_large"}),
        ({"pause": "P1M"}, {"/pause": "type"}),
        ({"pause": timedelta(-1)}, {"/pause": "type"}),
        ({"length": "PT31M", "weight": 1.25}, {}),
        ({"length": "PT30M", "weight": 1.25}, dict.fromkeys(CONDITION, "condition")),
        ({"starts_on": "1899-12-31"}, {"/starts_on": "too_small"}),
        ({"starts_on": str(NOW.date() + timedelta(732))}, {"/starts_on": "too_large"}),
        ({"starts_on": str(NOW.date() + timedelta(729))}, {}),
        ({"enrolled_at": "1999-12-31T22:59:59Z"}, {"/enrolled_at": "too_small"}),
        ({"enrolled_at": "1999-12-31T23:00:00Z"}, {}),
        ({"enrolled_at": NOW + timedelta(hours=3)}, {"/enrolled_at": "too_large"}),
        ({"enrolled_at": NOW + timedelta(hours=1)}, {}),
        ({"tags": None}, {"/tags": "required"}),
        ({"tags": "a"}, {"/tags": "type"}),
        ({"tags": ["a"] * 6}, {"/tags": "too_long"}),
        ({"tags": ["a", "b", None]}, {"/tags/2": "type"}),
        ({"rooms": [1, True, 2**31]}, {"/rooms/1": "type", "/rooms/2": "type"}),
        ({"days": ["mon", "tue"]}, {"/days/1": "not_a_choice"}),
    ],
)  # fmt: skip
def test_a_wrong_value_is_an_error_of_its_field(courses: Any, values: Any, errors: Any) -> None:
    with db.transaction(conn := courses.connection()):
        try:
            courses.create(ROW | values, conn=conn)
        except Invalid as err:
            assert {error.pointer: error.code for error in err.errors} == errors
        else:
            assert errors == {}
        raise Rollback


def test_an_entry_that_no_index_can_hold_is_too_long(courses: Any) -> None:
    noise = random.Random(1).randbytes(6000).hex()
    for send in (courses.create, lambda item: courses.create_many([item])):
        with pytest.raises(Invalid) as caught:
            send(ROW | {"tags": ["a", noise]})
        assert [error.code for error in caught.value.errors] == ["too_long"]
        assert caught.value.errors[0].pointer.endswith("/tags")


@pytest.mark.parametrize("filter", ["tags", "tags[in]", "days[gt]", "tags[ne]", "rooms[contains]"])
def test_a_list_is_filtered_by_its_entries_only(courses: Any, filter: str) -> None:
    with pytest.raises(BadRequest):
        ListQuery.parse(courses.resource, {filter: ["x"]})
    for sort in ("tags", "rooms"):
        with pytest.raises(BadRequest):
            ListQuery.parse(courses.resource, {"sort": [sort]})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("float", "'infinity'"), ("float", "'NaN'"), ("time", "'24:00'"), ("length", "'1 month'"),
        ("length", "'-1 s'"), ("length", "'1000000000 days'"), ("length", "'1 year'"),
        ("tags", "'{NULL}'"), ("days", "'{tue}'"), ("days", "'{mon,NULL}'"),
        ("rooms", "'{1,NULL}'"), ("tags", "'{a,b,c,d,e,f}'"), ("pause", "'4 min'"),
        ("opens_at", "'05:00'"),
        ("starts_on", "'1899-12-31'"), ("weight", "-0.6"), ("weight", "2e300"),
    ],
)  # fmt: skip
def test_the_table_refuses_what_no_client_could_read(courses: Any, column: str, value: str) -> None:
    with db.transaction(conn := courses.connection()):
        row = courses.create(ROW, conn=conn)
        with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
            conn.execute(f'update courses set "{column}" = {value} where id = %s', (row.id,))  # type: ignore[call-overload]
        raise Rollback


def test_the_table_checks_no_relative_limit(courses: Any) -> None:
    with db.transaction(conn := courses.connection()):
        row = courses.create(ROW, conn=conn)
        conn.execute("update courses set starts_on = '9999-12-31' where id = %s", (row.id,))
        raise Rollback


@given(value=DURATIONS)
def test_a_duration_is_read_back_as_it_is_written(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value
    assert parse_duration(clock_to_duration(format_clock(value))) == value


@pytest.mark.parametrize(
    ("written", "value", "canonical", "clock"),
    [
        ("PT0S", timedelta(), "PT0S", "0:00:00"),
        ("P2W", timedelta(14), "P14DT0S", "336:00:00"),
        ("P1DT2H3M4.5S", timedelta(1, 7384, 500000), "P1DT2H3M4.5S", "26:03:04.5"),
        ("PT90M", timedelta(minutes=90), "PT1H30M0S", "1:30:00"),
        ("PT1H4S", timedelta(seconds=3604), "PT1H0M4S", "1:00:04"),
    ],
)
def test_durations_have_one_spelling_by_rfc_3339(
    written: str, value: timedelta, canonical: str, clock: str
) -> None:
    assert parse_duration(written) == value
    assert (format_duration(value), format_clock(value)) == (canonical, clock)


@pytest.mark.parametrize(
    ("limit", "result"),
    [
        ("today", date(2024, 2, 29)), ("today-18y", date(2006, 2, 28)),
        ("today+1m", date(2024, 3, 29)), ("today-1w", date(2024, 2, 22)),
        ("today-999y", date(1025, 2, 28)), ("now", datetime(2024, 2, 29, 23, tzinfo=UTC)),
        ("now+2h", datetime(2024, 3, 1, 1, tzinfo=UTC)), ("2024-01-01", None),
    ],
)  # fmt: skip
def test_a_relative_limit_moves_with_the_clock(limit: str, result: object) -> None:
    assert relative_limit(limit, datetime(2024, 2, 29, 23, tzinfo=UTC)) == result
