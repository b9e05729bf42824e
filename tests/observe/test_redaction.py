"""No secret and no row in a log, whatever way it takes."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import psycopg
import pytest
from forge_min.observe import log_fields, new_handler
from forge_min.observe.logs.handler import RepeatLimiter
from forge_min.redaction import redact
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
        f"$ tool --password {SECRET} --verbose",
        f"$ tool --api-key  {SECRET}",
        f"body <user><password>{SECRET}</password></user>",
        f"body <AccessToken>ab {SECRET}</AccessToken>",
        f"\udcff token={SECRET}",
        f"token='a' token='{SECRET}",
        f'at ["http://a:80/","postgres://u:{SECRET}@h"]',
        f'at ["https://example.com/x","postgres://u:{SECRET}@h/db"]',
        f"urls: http://a/b,http://u:{SECRET}@c",
        f"https://a/b?u=postgres://u:{SECRET}@h",
        f"a=http://x/y;b=postgres://u:{SECRET}@h/db",
        f"('http://h:9200/', 'http://elastic:{SECRET}@h')",
        f"at postgres://u:hun ter {SECRET}@h",
        f"at postgres://u:{SECRET} ter 2@h",
        f"at postgres://u:80/{SECRET}@h",
        f"at postgres://u:p://{SECRET}@h",
        f"at redis://:80/{SECRET}@h",
        f"at postgres://me@corp:x {SECRET}@h",
        f'{{"password": ["a","{SECRET}"]}}',
        f'{{"password": [["a]"], {{"b": "{SECRET}"}}]}}',
        f"passwords=['a', '{SECRET}']",
        f'{{"credentials": {{"user": "x", "pass": "{SECRET}"}}}}',
        f'"{{\\"tokens\\": [\\"a]\\", \\"{SECRET}\\"]}}"',
        f'"{{\\"password\\": \\"a {SECRET}\\"}}"',
        f"token=SecretStr('a {SECRET}')",
        f"{{'token': SecretStr('a {SECRET}')}}",
        f"token: ['a', '{SECRET}",
        f"ALTER ROLE a PASSWORD '{SECRET}'",
        f"alter role a password e'a\\' {SECRET}'",
        f"create user a PASSWORD  'a''{SECRET}'",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
        f"-----BEGIN RSA PRIVATE KEY-----\\n{SECRET}",
        f"password=p&{SECRET})word",
        f"password=p&ss){SECRET}",
        f"pass={SECRET}",
        f"x?otp={SECRET}",
        f'{{"auth": "{SECRET}"}}',
        f"my_otp={SECRET}",
        f"sessionid={SECRET}",
        f"user[password]={SECRET}",
        f"user%5Bpassword%5D={SECRET}",
        f"could not insert\nDETAIL:  Key (note)=({SECRET}\n{SECRET}) already exists.",
        f"could not insert\\nDETAIL:  Key (note)=({SECRET}\\n{SECRET}) already exists.",
        f"failed\nQUERY:  select nope, '{SECRET}'",
        f"failed\nCONTEXT:  *** {SECRET}",
        f"cloned https://ghp_a1b2c3{SECRET}@host:443/x.git",
        f"cloned https://ghp_a1b2c3d4e5f6_{SECRET}@host/x?y=z@w",
        f"at https://h/x?X-Amz-Signature={SECRET}&y=1",
        f"at https://h/x?x%3Dy&Signature%3D{SECRET}",
    ],
)
def test_a_secret_in_a_text_is_masked_and_the_rest_stays(text: str) -> None:
    told = redact(text)
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
        "see http://127.0.0.1:8000 and write to a@b",
        'json {"url": "http://h:8000", "mail": "a@b"}',
        "git+ssh://git@host:22/x@v1",
        "at https://h:80/a?mail=x@y,http://h:80/#x@y",
        "postgres://u@h/db",
        "https://somebody@example.com/x and postgres://a_role_with_a_long_name@h/db",
        "inspect.signature (a, b); the signature is wrong",
        "the password of 'a' is wrong, unexpected token 'x'",
        "bypass=1 compass=2 author=x http=1 tp='x'",
        "('pass', 'fail')",
        "3 pass, auth: none",
        "usage: tool --token --verbose; a <token> is missing",
        "a\nDETAILS: none\nLINES 1: x",
        "failed\nHINT:  Perhaps you meant another column.",
        "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----",
        "a list [1, {2: 3}]",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("GET /a?token=x&next=/ 400", "GET /a?token=***&next=/ 400"),
        ("f(password=x), y", "f(password=***), y"),
        ("tool --password x --port 1", "tool --password *** --port 1"),
        ("<a><token>x</token><b>y</b></a>", "<a><token>***</token><b>y</b></a>"),
        ("Server=h;Password=x;User=y", "Server=h;Password=***;User=y"),
        ('{"password": ["a", "b"], "n": 1}', '{"password": ***, "n": 1}'),
        ('{"credentials": {"pass": "]}"}, "n": {}}', '{"credentials": ***, "n": {}}'),
        ("{'otp': 123, 'n': 1}", "{'otp': ***, 'n': 1}"),
        ('["http://a:80/","postgres://u:p@h"]', '["http://a:80/","postgres://u:***@h"]'),
        ("https://a/b?u=http://u:p@h", "https://a/b?u=http://u:***@h"),
        ("http://a/b,http://u:1234@c", "http://a/b,http://u:***@c"),
        ("postgres://app:1234@db/x", "postgres://app:***@db/x"),
        ("postgres://app:99999@db", "postgres://app:***@db"),
        ("redis://:1234@h", "redis://:***@h"),
        ("ALTER ROLE a PASSWORD 'x' VALID", "ALTER ROLE a PASSWORD *** VALID"),
        ("a\nDETAIL:  b\nc\nHINT:  d\nQUERY:  e", "a\nDETAIL:  ***\nHINT:  d\nQUERY:  ***"),
        (r"E('a\nDETAIL:  b\nHINT:  d')", r"E('a\nDETAIL:  ***\nHINT:  d')"),
        ("a\nLINE 1: select 'x'\n            ^\nHINT:  d", "a\nHINT:  d"),
        (r"E('a\nLINE 1: E\'\\n x\'\n    ^\nHINT:  d')", r"E('a\nHINT:  d')"),
        ("a\nDETAIL:  b\n\nDuring handling of", "a\nDETAIL:  ***\n\nDuring handling of"),
    ],
)
def test_no_more_is_masked_than_the_secret(text: str, told: str) -> None:
    assert redact(text) == told


@pytest.mark.thorough
@pytest.mark.parametrize(
    "text",
    [
        "a-", "x-", "://a:", "://a:b ", "://", "token='", "token=", "token ", "password", "'", "\\",
        "cookie:", "bearer ", "api-", "authorization ", 'token" ', "a@", "token: '\\", "\nLINE 1: ",
        "<token>", "<token", "<token>a", "token>", "--token ", "--token a ",
        "token" + " " * 50, "'password' ", "İtoken=",
        "://a:b", "://a:80/", "://a:b@", "://a:b c", "://a b@", "token=[", "token=(", "token=['",
        "'token': [", "[", "]", "{'", 'token=\\"', "\\\\'", "token=a(", "password '", "pass=",
        "otp=", "token=&", "token=a&b", "&a", ";", ")a", "token[", "token%5b", "aaaa.",
        "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----END ", "-----",
        "\nDETAIL:  ", "\nDETAIL:  ***", "\\nDETAIL:  ", "\\nDETAIL:  ***", "\n ", "\\n ", "\n\n",
        "\\nLINE 1: ", "\\nLINE 1: a\\", "\nLINE 1: a\n ", "\nHINT:  ", "\\nHINT:  ",
    ],
)  # fmt: skip
def test_the_time_grows_as_the_text_does(text: str) -> None:
    # Where it grows as the square does, this takes hours.
    long = text * (200_000 // len(text))
    for end in ("", "=", ": x", "'", "@"):
        redact(long + end)
    for begin in ("://a:", "token=[", "-----BEGIN PRIVATE KEY-----", "\nDETAIL:  ", "LINE 1: "):
        redact(begin + long)


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
        "AWS_SECRET_ACCESS_KEY", "credentials", "jwt", "password_hash", "passwords", "api_tokens",
        "secrets", "pass", "userPass", "sessionid", "otp", "auth", "private_pem", "api_keys",
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
    repeats = RepeatLimiter()

    def record(second: float, line: int = 1) -> logging.LogRecord:
        made = logging.LogRecord("x", logging.ERROR, "a.py", line, "boom", (), None)
        made.created = second
        return made

    told = [repeats.omitted_before(record(1000.5)) for _ in range(350)]
    assert [n for n in told if n is not None] == [0] * 100 + [99, 99]
    assert repeats.omitted_before(record(1000.9, line=2)) == 0
    assert repeats.omitted_before(record(1001.0)) == 50
    assert repeats.omitted_before(record(1001.0)) == 0


def test_code_that_is_made_at_run_time_leaves_memory_bounded() -> None:
    repeats = RepeatLimiter()
    for n in range(10_000):
        repeats.omitted_before(logging.LogRecord("x", 20, f"<made {n}>", 1, "m", (), None))
    assert len(repeats._counts) <= 1000


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
