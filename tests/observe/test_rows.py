"""What a database's errors repeat of values and statements is in no log, however they are told."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from forge_min.observe import new_handler
from forge_min.redaction import redact_error
from forge_min.testing import TestDatabase

VALUE = "hunter2"


@pytest.fixture
def failure(fresh_database: TestDatabase) -> Iterator[Callable[..., psycopg.Error]]:
    """The error that a statement ends with."""
    with psycopg.connect(fresh_database.owner_url, autocommit=True) as conn:
        conn.execute("create table person (id int, name text unique)")
        conn.execute("create type mood as enum ('a')")
        conn.execute(
            "create function f(x text) returns void language plpgsql as"
            " $$begin execute format('select nope, %L', x); end$$"
        )

        def ask(statement: str, *values: object) -> psycopg.Error:
            with pytest.raises(psycopg.Error) as found:
                conn.execute(statement, values or None)
            return found.value

        yield ask


def logged(write: Callable[[logging.Logger], object]) -> dict[str, Any]:
    stream = io.StringIO()
    logger = logging.Logger("x")
    logger.addHandler(new_handler(stream, format="json", queued=False))
    write(logger)
    row: dict[str, Any] = json.loads(stream.getvalue())
    return row


@pytest.mark.db
@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("select %s::int", f'5" Main St, {VALUE}'),
        ("select %s::int", f'a" {VALUE} "b'),
        ("select %s::text::int4range", f'("{VALUE}","x'),
        ("select %s::text::inet", f'1.2.3.4" {VALUE}'),
        ("select %s::text::mood", f'x"{VALUE}"y'),
        ("select set_config('work_mem', %s, false)", f'a"{VALUE}"x'),
        ("select %s::text::tsquery", f'{VALUE} & & "x"'),
        ("select to_tsquery(%s)", f"{VALUE} & & b"),
        ("select to_tsquery(%s)", f"{VALUE} |"),
        ("select f(%s)", VALUE),  # QUERY
    ],
)
def test_a_value_with_quotes_in_it_is_hidden_whole(
    failure: Callable[..., psycopg.Error], statement: str, value: str
) -> None:
    err = failure(statement, value)
    told = redact_error(str(err), err)
    assert VALUE in str(err) and VALUE not in told
    assert told[:12] == str(err)[:12]


@pytest.mark.db
@pytest.mark.parametrize(
    "told",
    [
        lambda log, e: log.error("boom %(e)s", {"e": e}),
        lambda log, e: log.error("boom %s", [e]),
        lambda log, e: log.error("boom %s", {"a": [(e,)]}),
        lambda log, e: log.error("boom %r", e),
        lambda log, e: log.error("boom %s", str(e)),
        lambda log, e: log.error("boom %s", [str(e)]),
        lambda log, e: log.error("boom %s", json.dumps({"e": str(e)})),
        lambda log, e: log.error("boom", extra={"errors": [e]}),
        lambda log, e: log.error("boom", extra={"errors": {"e": e}}),
        lambda log, e: log.error("boom", extra={"text": repr(e)}),
        lambda log, e: log.error("boom %s", RuntimeError("failed", e)),
        lambda log, e: log.error("boom", exc_info=RuntimeError("failed", e)),
    ],
)
@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("insert into person (name) values (%s), (%s)", VALUE),
        ("insert into person (name) values (%s), (%s)", f"a\n{VALUE}"),
        ("insert into person (name) values (%s), (%s)", f"a'\"{VALUE}"),
        ("insert into person (name) values (%s), (%s)", f"it's {VALUE}"),
        ("insert into person (name) values (%s), (%s)", f"a\\n\\'{VALUE}\\"),
        (f"select 1 1 from person where name = '{VALUE}'", None),
        (f"select nope from person where name = E'\\n{VALUE}'", None),
    ],
)
def test_an_error_is_told_without_values_however_it_is_logged(
    failure: Callable[..., psycopg.Error],
    told: Callable[[logging.Logger, psycopg.Error], object],
    statement: str,
    value: str | None,
) -> None:
    err = failure(statement, *([] if value is None else [value] * 2))
    assert VALUE in str(err)
    row = json.dumps(logged(lambda log: told(log, err)))
    assert VALUE not in row and "boom" in row
    assert "duplicate key" in row or "syntax error" in row or "does not exist" in row


@pytest.mark.db
def test_of_a_repr_only_the_values_are_hidden(failure: Callable[..., psycopg.Error]) -> None:
    err = failure("insert into person (name) values (%s), (%s)", *[f"a\n{VALUE}'"] * 2)
    row = logged(lambda log: log.error("boom %r: %d rows", err, 3))
    assert row["message"].startswith("boom UniqueViolation('duplicate key value violates")
    assert row["message"].endswith("DETAIL:  ***'): 3 rows") or 'DETAIL:  ***"' in row["message"]


def test_what_holds_itself_is_logged() -> None:
    ring: list[object] = [ValueError("x")]
    ring.append(ring)
    assert logged(lambda log: log.error("boom %s", ring))["message"].startswith("boom [ValueError")
