"""trace_connection on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from uuid import UUID

import psycopg
import pytest
from forge_min.db import connect, query, run
from forge_min.errors import DatabaseError
from forge_min.observe import span, trace_connection
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from psycopg import sql

pytestmark = pytest.mark.db
Spans = Callable[[], Sequence[ReadableSpan]]
Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def conn(fresh_database) -> Iterator[Connection]:
    with connect(fresh_database.app_url) as opened:
        yield trace_connection(opened)


def texts(spans: Spans) -> list[str]:
    made = [s for s in spans() if s.kind is SpanKind.CLIENT]
    return [str((s.attributes or {})["db.query.text"]) for s in made]


def test_a_statement_is_one_client_span_below_the_current_one(
    conn: Connection, spans: Spans
) -> None:
    with span("request"):
        row = conn.execute("select %s::int + 1", (41,)).fetchone()
    assert row == (42,)
    statement, request = spans()
    attributes = statement.attributes or {}
    assert (statement.name, statement.kind) == ("SELECT", SpanKind.CLIENT)
    assert statement.parent is not None
    assert statement.parent.span_id == request.context.span_id
    assert attributes["db.system.name"] == "postgresql"
    assert attributes["db.query.text"] == "select %s::int + ?"
    assert attributes["db.namespace"] == conn.info.dbname
    assert attributes["db.response.returned_rows"] == 1


def test_it_needs_no_span_of_ours_around_it(conn: Connection, spans: Spans) -> None:
    with trace.get_tracer("library").start_as_current_span("library") as outer:
        conn.execute("select 1")
    (statement,) = (one for one in spans() if one.kind is SpanKind.CLIENT)
    assert statement.parent == outer.get_span_context()


def test_values_never_appear(conn: Connection, spans: Spans) -> None:
    with span("request"):
        conn.execute("select %s, %s", ("hunter2", 77123))
        conn.execute("select 'hunter2 it''s', 77123, E'x'")
        conn.execute(sql.SQL("select {}, {}").format("hunter2", 77123))
        conn.execute(b"select 'hunter2'")
    shown = " ".join(texts(spans))
    assert "hunter2" not in shown and "77123" not in shown
    assert texts(spans)[1] == "select ?, ?, ?"


def test_nor_where_a_backslash_escapes_in_every_text(conn: Connection, spans: Spans) -> None:
    conn.execute("set standard_conforming_strings = off")
    conn.execute("set escape_string_warning = off")
    with span("request"):
        row = conn.execute(r"select 'it\'s hunter2', 'x'").fetchone()
        conn.execute(rb"select 'it\'s hunter2', 'x'")
    assert row == ("it's hunter2", "x")
    conn.execute("set standard_conforming_strings = on")
    with span("request"):
        conn.execute(r"select 'a\', 'hunter2'")
    assert texts(spans) == ["select ?, ?"] * 3


def test_bytes_are_read_as_the_connection_sends_them(conn: Connection, spans: Spans) -> None:
    conn.execute("set client_encoding = SJIS")
    with span("request"):
        row = conn.execute("select E'ソ', 'hunter2'".encode("shift_jis")).fetchone()
        conn.execute("select 1 as ソ".encode("shift_jis"))
    assert row == ("ソ", "hunter2")
    assert texts(spans) == ["select ?, ?", "select ? as ソ"]


def test_rows_that_are_streamed_are_a_span(conn: Connection, spans: Spans) -> None:
    with span("request"):
        with conn.cursor() as cursor:
            assert list(cursor.stream("select generate_series(1, 3)")) == [(1,), (2,), (3,)]
    assert texts(spans) == ["select generate_series(?, ?)"]


LONG = "SECRET of a person " * 150


@pytest.mark.parametrize(
    "query",
    [
        sql.SQL("select {}::text").format(sql.Literal(LONG)),
        sql.SQL("select {}::text").format(sql.Literal(LONG + "\\")),
        f"do $$ begin perform '{LONG}'; end $$",
        f"select /* {LONG} */ 1",
        "select 'SECRET",
        "select /* SECRET",
        "do $a$ SECRET",
        "select E'\\'SECRET",
    ],
)
def test_values_that_are_cut_or_have_no_end_do_not_appear(
    query: sql.Composable | str, conn: Connection, spans: Spans
) -> None:
    with span("request"), suppress(psycopg.Error):
        conn.execute(query)  # type: ignore[call-overload]
    (text,) = texts(spans)
    assert "SECRET" not in text and 0 < len(text) < 200
    assert "SECRET" not in said(spans)


def said(spans: Spans) -> str:
    return repr([dict(event.attributes or {}) for made in spans() for event in made.events])


def test_a_syntax_error_repeats_no_value_wherever_it_is_the_cause(
    conn: Connection, spans: Spans
) -> None:
    with span("request"), suppress(DatabaseError):
        run(conn, 'select \'SECRET "a"\nSECRET "b"\n SECRET')
    assert "at or near ***" in said(spans) and "SECRET" not in said(spans)


def rows(spans: Spans) -> list[object]:
    made = [s for s in spans() if s.kind is SpanKind.CLIENT]
    return [(s.attributes or {}).get("db.response.returned_rows") for s in made]


def test_every_way_to_get_rows_tells_how_many(conn: Connection, spans: Spans) -> None:
    series = "select generate_series(1, 5)"
    with span("request"), conn.cursor() as cursor:
        cursor.execute(series)
        assert len(list(cursor.stream(series))) == 5
        with cursor.copy(f"copy ({series}) to stdout") as copy:
            assert len(list(copy)) == 5
        cursor.executemany("select generate_series(1, %s)", [(2,), (3,)], returning=True)
        cursor.executemany("select %s", [(1,), (2,)])
        stream = cursor.stream(series)
        next(stream)
        stream.close()
    assert rows(spans) == [5, 5, 5, None, 2, 1]


@pytest.mark.parametrize("tenant", [None, UUID(int=7)])
def test_what_no_cursor_sends_is_a_span_too(
    tenant: UUID | None, conn: Connection, spans: Spans
) -> None:
    ask = "select n from generate_series(1, %(last)s) n"
    with span("request"):
        assert len(run(conn, ask, {"last": 3}, tenant=tenant)) == 3
        with pytest.raises(DatabaseError):
            run(conn, "select 1 / %(zero)s", {"zero": 0}, tenant=tenant)
    first, failed, _ = spans()
    assert texts(spans) == [ask.replace("1", "?"), "select ? / %(zero)s"]
    assert (first.attributes or {})["db.response.returned_rows"] == 3
    assert failed.status.status_code is StatusCode.ERROR
    assert run(conn, ask, {"last": 2}, tenant=tenant) == [(1,), (2,)]
    assert len(spans()) == 3


def test_a_failing_statement_is_a_failed_span_without_values(
    conn: Connection, spans: Spans
) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), span("request"):
        conn.execute("select 1 / %s", (0,))
    statement, _ = spans()
    assert statement.status.status_code is StatusCode.ERROR
    assert (statement.attributes or {})["error.type"] == "DivisionByZero"


def test_many_rows_copies_and_named_cursors_are_spans_too(conn: Connection, spans: Spans) -> None:
    with span("request"), conn.transaction():
        conn.execute("create temporary table t (n int) on commit drop")
        with conn.cursor() as cursor:
            cursor.executemany("insert into t values (%s)", [(1,), (2,)])
            with cursor.copy("copy t from stdin") as copy:
                copy.write_row((3,))
        with conn.cursor("named") as server:
            server.execute("select n from t order by n")
            assert server.fetchall() == [(1,), (2,), (3,)]
    names = [made.name for made in spans()]
    for name in ("CREATE", "INSERT", "COPY", "SELECT"):
        assert name in names


def test_what_psycopg_sends_by_itself_is_a_span_too(conn: Connection, spans: Spans) -> None:
    trace_connection(conn)  # once more: it stays one
    with span("request"):
        with conn.transaction(), conn.cursor("named") as server:
            server.execute("select n from generate_series(1, 5) n")
            assert len(server.fetchmany(2)) == 2 and len(list(server)) == 3
        with suppress(ZeroDivisionError), conn.transaction(), conn.transaction():
            raise ZeroDivisionError
    assert [made.name for made in spans()] == [
        "BEGIN", "SELECT", "FETCH", "FETCH", "CLOSE", "COMMIT",
        "BEGIN", "SAVEPOINT", "ROLLBACK", "RELEASE", "ROLLBACK", "request",
    ]  # fmt: skip
    fetched = [(made.attributes or {})["db.response.returned_rows"] for made in spans()[2:4]]
    assert fetched == [2, 3] and 'FETCH FORWARD ? FROM "named"' in texts(spans)


def test_a_commit_that_fails_is_a_failed_span(conn: Connection, spans: Spans) -> None:
    conn.execute("create temporary table t (n int unique deferrable initially deferred)")
    with suppress(psycopg.errors.UniqueViolation), span("request"), conn.transaction():
        conn.execute("insert into t values (1), (1)")
    failed = [made for made in spans() if made.name == "COMMIT"]
    assert [made.status.status_code for made in failed] == [StatusCode.ERROR]


def test_the_span_and_the_seconds_of_own_sql_last_until_its_result(
    fresh_database, spans: Spans
) -> None:
    seconds: list[float] = []
    opened = connect(fresh_database.app_url, observe=lambda _, taken: seconds.append(taken))
    conn = trace_connection(opened)
    with span("outer"):
        assert query(conn, "select pg_sleep(0.3)", None, dict, None, False) == [{"pg_sleep": ""}]
    (slow,) = [s for s in spans() if "pg_sleep" in str((s.attributes or {}).get("db.query.text"))]
    conn.close()
    assert slow.end_time and slow.start_time
    assert slow.end_time - slow.start_time >= 300_000_000 and max(seconds) >= 0.3


def test_outside_of_a_sampled_span_nothing_is_recorded(
    conn: Connection, record: Callable[[float], Spans]
) -> None:
    spans = record(0.0)
    conn.execute("select 1")
    with span("request"):
        conn.execute("select 1")
    assert spans() == ()


def test_tracing_twice_makes_one_span(conn: Connection, spans: Spans) -> None:
    trace_connection(trace_connection(conn))
    with span("request"):
        conn.execute("select 1")
    assert len(texts(spans)) == 1


def test_the_cursor_class_of_the_owner_stays(fresh_database, spans: Spans) -> None:
    with psycopg.connect(fresh_database.app_url, cursor_factory=psycopg.ClientCursor) as opened:
        traced = trace_connection(opened)
        cursor = traced.cursor()
        assert isinstance(cursor, psycopg.ClientCursor)
        with span("request"):
            cursor.execute("select %s", ("x",))
        assert cursor.fetchone() == ("x",)
        assert cursor.mogrify("select %s", ("x",)) == "select 'x'"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("-- a comment\n select 1", "SELECT"),
        ("/* x */ with a as (select 1) select * from a", "WITH"),
        ("  \n", "QUERY"),
    ],
)
def test_the_name_is_the_operation(conn: Connection, spans: Spans, text: str, name: str) -> None:
    with span("request"):
        conn.execute(text)
    assert spans()[0].name == name
