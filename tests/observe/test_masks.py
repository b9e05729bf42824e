"""No secret and no row in a log, whatever way it takes."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import psycopg
import pytest
from forge_min.observe import log_fields, new_handler
from forge_min.observe.logs.masks import masked
from forge_min.observe.logs.repeats import Repeats
from forge_min.testing import TestDatabase

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"cannot reach postgresql://shop:{SECRET}@db.example/shop",
        f"connection failed: host=db password={SECRET} user=x",
        f"GET /reset?token={SECRET}&next=/ 400",
        f"sent Authorization: Bearer {SECRET}",
        f"headers {{'Authorization': 'Basic {SECRET}'}}",
        f"Cookie: session={SECRET}",
        f"FORGE_AUTH_SECRET={SECRET}",
        f'api_key="{SECRET}"',
        f"at postgresql://shop:p@{SECRET}@db/x",
        f"at postgresql://shop:p/{SECRET}@db/x",
        f"could not use {{'password': '{SECRET}', 'n': 1}}",
        f'body {{"token": "{SECRET}"}}',
        f"password = {SECRET}",
        f"password='a {SECRET}'",
        f"password=ab,{SECRET}",
        f"Cookie: theme=dark; session={SECRET}",
        f"X-Api-Key: {SECRET}",
        f"password: {SECRET}",
        f"password  =  {SECRET}",
        f"password => {SECRET}",
        f"see x?password%3D{SECRET}",
        f"secret_key={SECRET}",
        f"AWS_ACCESS_KEY={SECRET}",
        f"passphrase={SECRET}",
        f"access_key={SECRET}",
        f"sent Bearer {SECRET}",
        f"Authorization=Bearer {SECRET}",
        f'authorization: Digest username="x", response="{SECRET}"',
        f'Cookie: a="b"; s={SECRET}',
        f'password="a\\"{SECRET}"',
        f"password=a\\ {SECRET}",
        f"(password='a''{SECRET}')",
        f"{{'password': b'{SECRET}'}}",
        f'"{{\\"password\\": \\"{SECRET}\\"}}"',
        f"at postgresql://u:\n{SECRET}@db/x",
        f"at postgresql://u:{SECRET}\n@db/x",
        f"at redis://:{SECRET}@db",
        f"é Ω İ token={SECRET}",
        f"\udcff token={SECRET}",
        f"token='a' token='{SECRET}",
    ],
)
def test_a_secret_in_a_text_is_masked_and_the_rest_stays(text: str) -> None:
    told = masked(text)
    assert SECRET not in told and "***" in told
    assert told.split()[0] == text.split()[0] or "=" in text.split()[0]


@pytest.mark.parametrize(
    "text",
    [
        "GET /tokens/1 200 0.3ms",
        "the token has expired",
        "a = b",
        "http://127.0.0.1:8000/x@y",
        "k=v",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a-", "x-", "://a:", "://a:b ", "://", "token='", "token=", "token ", "password", "'", "\\",
        "cookie:", "bearer ", "api-", "authorization ", 'token" ', "a@", "token: '\\", "\nLINE 1: ",
        "token" + " " * 50, "'password' ", "İtoken=",
    ],
)  # fmt: skip
def test_the_time_grows_as_the_text_does(text: str) -> None:
    # Where it grows as the square does, this takes hours.
    for end in ("", "=", ": x", "'", "@"):
        masked(text * (400_000 // len(text)) + end)


def logged(format: str, **extra: object) -> str:
    stream = io.StringIO()
    logger = logging.Logger("x")
    handler = new_handler(stream, format=format, queued=False)  # type: ignore[arg-type]
    logger.addHandler(handler)
    logger.warning("signing in at %s", f"https://a:{SECRET}@b/", extra=extra)
    return stream.getvalue()


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize(
    "name",
    [
        "password", "api_key", "admin_token", "Authorization", "cookie", "secret_key", "passphrase",
        "AWS_SECRET_ACCESS_KEY", "credentials", "jwt", "password_hash",
    ],
)  # fmt: skip
def test_a_field_named_like_a_secret_is_masked(format: str, name: str) -> None:
    assert SECRET not in logged(format, **{name: SECRET})


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_stack_that_is_logged_is_masked(format: str) -> None:
    stream = io.StringIO()
    logger = logging.Logger("x")
    logger.addHandler(new_handler(stream, format=format, queued=False))  # type: ignore[arg-type]
    logger.warning("here", stack_info=True, extra={"password": "hunter2hunter2"})
    assert SECRET not in stream.getvalue() and "stack_info=True" in stream.getvalue()


@pytest.mark.parametrize("format", ["text", "json"])
def test_fields_of_the_context_are_masked_too(format: str) -> None:
    token = log_fields.set({"url": f"postgresql://a:{SECRET}@b/c", "session_id": SECRET})
    try:
        assert SECRET not in logged(format)
    finally:
        log_fields.reset(token)


@pytest.mark.db
@pytest.mark.parametrize(
    "statement",
    [
        "insert into person values (null, %s)",  # DETAIL: Failing row contains (...)
        "insert into person values (1, %s)",  # DETAIL: Key (name)=(...) already exists.
        "select cast(%s::text as integer)",  # the message itself
        "select cast(%s::text as json)",  # DETAIL and CONTEXT
        "select cast(%s::text as uuid)",
        "select to_date(%s, 'YYYY')",
        "select %s::text::bit",
        "select '{value}",  # the message: the token where the parser stopped
        "select $a${value}",
    ],
)
def test_what_a_database_repeats_of_a_row_is_not_logged(
    fresh_database: TestDatabase, statement: str
) -> None:
    stream = io.StringIO()
    logger = logging.Logger("x")
    logger.addHandler(new_handler(stream, format="json", queued=False))
    value = f"{SECRET}\nQUERY: the rest"
    ask: Any = [statement, [value]]
    if "{value}" in statement:
        ask = [statement.replace("{value}", value)]
    with psycopg.connect(fresh_database.owner_url, autocommit=True) as conn:
        conn.execute("create table person (id int not null, name text unique)")
        conn.execute("insert into person values (1, %s)", [value])
        try:
            try:
                conn.execute(*ask)
            except psycopg.Error as err:
                raise ValueError("a handler failed") from err
        except ValueError as err:
            logger.exception("a request failed")
            logger.error("failed: %s", err, extra={"error": err.__cause__})
            logger.error("group", exc_info=ExceptionGroup("several", [ValueError("x"), err]))
    written, *more = stream.getvalue().splitlines()
    assert len(more) == 2 and SECRET not in "".join(more) and "the rest" not in "".join(more)
    row = json.loads(written)
    assert SECRET not in row["exception"] and "the rest" not in row["exception"]
    assert (
        "psycopg.errors" in row["exception"] and "ValueError: a handler failed" in row["exception"]
    )


def test_a_flood_of_one_place_is_thinned_and_what_was_left_out_is_told() -> None:
    repeats = Repeats()

    def record(second: float, line: int = 1) -> logging.LogRecord:
        made = logging.LogRecord("x", logging.ERROR, "a.py", line, "boom", (), None)
        made.created = second
        return made

    told = [repeats.left_out(record(1000.5)) for _ in range(350)]
    assert [n for n in told if n is not None] == [0] * 100 + [99, 99]
    assert repeats.left_out(record(1000.9, line=2)) == 0
    assert repeats.left_out(record(1001.0)) == 50
    assert repeats.left_out(record(1001.0)) == 0


def test_code_that_is_made_at_run_time_leaves_memory_bounded() -> None:
    repeats = Repeats()
    for n in range(10_000):
        repeats.left_out(logging.LogRecord("x", 20, f"<made {n}>", 1, "m", (), None))
    assert len(repeats._seen) <= 1000


@pytest.mark.thorough
def test_the_handler_thins_and_counts() -> None:
    stream = io.StringIO()
    logger = logging.Logger("x")
    handler = new_handler(stream, format="json", queued=False)
    logger.addHandler(handler)
    for n in range(100_000):
        logger.warning("line %d", n)
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    left_out = handler.lines.dropped["repeated"]  # type: ignore[attr-defined]
    assert left_out > 0 and len(rows) + left_out == 100_000
    last = 99_999 - int(rows[-1]["message"].split()[1])
    assert sum(row.get("repeated", 0) for row in rows) == left_out - last
