"""The log handler: one record is one line, whatever a client sends."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest
from forge_min.observe import log_fields, new_handler, span
from hypothesis import given
from hypothesis import strategies as st

Lines = Callable[[], list[str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.Logger("test.logger")
    yield made
    made.handlers.clear()


def written(logger: logging.Logger, format: str, say: Callable[[], object]) -> str:
    stream = io.StringIO()
    handler = new_handler(stream, format=format, level="debug")
    logger.addHandler(handler)
    try:
        say()
    finally:
        logger.removeHandler(handler)
        handler.close()
    return stream.getvalue()


def test_json_has_time_level_logger_message_and_fields(logger: logging.Logger) -> None:
    line = written(logger, "json", lambda: logger.warning("hello %s", "you", extra={"status": 200}))
    row = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", row.pop("time"))
    assert row == {
        "level": "warning",
        "logger": "test.logger",
        "message": "hello you",
        "status": 200,
    }


def test_text_has_the_same_in_one_readable_line(logger: logging.Logger) -> None:
    line = written(logger, "text", lambda: logger.info("hello", extra={"route": "/a b", "n": 1}))
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO    test\.logger hello route="/a b" n=1\n', line
    )


def test_fields_of_the_context_and_the_span_are_in_every_line(logger: logging.Logger) -> None:
    token = log_fields.set({"request_id": "r-1"})
    try:
        with span("x") as active:
            row = json.loads(written(logger, "json", lambda: logger.info("m")))
    finally:
        log_fields.reset(token)
    assert row["request_id"] == "r-1"
    assert active.traceparent == f"00-{row['trace_id']}-{row['span_id']}-00"
    assert "request_id" not in json.loads(written(logger, "json", lambda: logger.info("m")))


def test_a_field_cannot_replace_what_the_line_says_itself(logger: logging.Logger) -> None:
    token = log_fields.set({"level": "debug", "message": "forged"})
    try:
        row = json.loads(written(logger, "json", lambda: logger.error("true")))
    finally:
        log_fields.reset(token)
    assert (row["level"], row["message"]) == ("error", "true")


FORGED = "a\n2026-01-01 00:00:00.000 ERROR   root forged\r\x1b[2J\x85\u2028\u202e\ud800\x00"


@pytest.mark.parametrize("format", ["text", "json"])
def test_no_value_can_forge_a_line(logger: logging.Logger, format: str) -> None:
    def say() -> None:
        logger.info("m %s", FORGED, extra={"path": FORGED, FORGED: "v"})

    text = written(logger, format, say)
    assert text.endswith("\n") and len(text.splitlines()) == 1
    assert text[:-1].isprintable()
    text.encode("utf-8")


@pytest.mark.parametrize("format", ["text", "json"])
@given(message=st.text(), value=st.text())
def test_any_text_is_one_printable_line(format: str, message: str, value: str) -> None:
    logger = logging.Logger("test")
    text = written(logger, format, lambda: logger.info("%s", message, extra={"value": value}))
    assert len(text.splitlines()) == 1 and text[:-1].isprintable()
    if format == "json":
        assert json.loads(text)["value"] == value


def test_an_exception_is_told_behind_a_mark_on_every_line(logger: logging.Logger) -> None:
    def say() -> None:
        try:
            raise ValueError("first\n2026-01-01 forged\x1b[31m")
        except ValueError:
            logger.exception("failed")

    lines = written(logger, "text", say).splitlines()
    assert "ERROR" in lines[0] and len(lines) > 3
    assert all(line.startswith("    | ") and line.isprintable() for line in lines[1:])
    row = json.loads(written(logger, "json", say))
    assert row["exception"].startswith("Traceback") and "forged" in row["exception"]


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_odd_values_are_written_as_valid_json(logger: logging.Logger) -> None:
    extra = {
        "nan": float("nan"),
        "inf": float("inf"),
        "none": None,
        "hostile": Hostile(),
        "list": [1],
    }
    line = written(logger, "json", lambda: logger.info("m", extra=extra))
    row = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (row["nan"], row["inf"], row["none"]) == ("nan", "inf", None)
    assert "RuntimeError" in row["hostile"] and row["list"] == "[1]"


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_wrong_format_string_still_says_what_it_can(logger: logging.Logger, format: str) -> None:
    text = written(logger, format, lambda: logger.info("%d items", "three"))
    assert "items" in text and "three" in text


class Mute(Hostile):
    __repr__ = Hostile.__str__


@pytest.mark.parametrize("format", ["text", "json"])
def test_what_cannot_tell_of_itself_hides_no_record(logger: logging.Logger, format: str) -> None:
    def say() -> None:
        try:
            raise ValueError("the reason")
        except ValueError:
            logger.exception("of %s", Mute())

    text = written(logger, format, say)
    assert "of %s" in text and "RuntimeError in repr()" in text and "the reason" in text


class Refuses(Exception):
    """Whoever asks it for anything."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)

    @property
    def exceptions(self) -> object:
        raise RuntimeError("exceptions")


class Unbound:
    """A proxy that stands for nothing now."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("working outside of its context")

    def __str__(self) -> str:
        return "<unbound>"


class Closed(dict[str, int]):
    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("closed")


class Mumbling(str):
    __str__ = Hostile.__str__


class Number(int):
    __le__ = __ge__ = __str__ = __repr__ = Hostile.__str__  # type: ignore[assignment]


@pytest.mark.parametrize("format", ["text", "json"])
def test_no_values_class_hides_a_record(logger: logging.Logger, format: str) -> None:
    odd = {1: "of a number", "proxy": Unbound(), "closed": Closed(a=1), "mumbling": Mumbling("m")}

    def say() -> None:
        try:
            raise Refuses("the reason")
        except Refuses:
            logger.exception("with %s and %s", Unbound(), Closed(b=2), extra=odd)
        logger.info("counted", extra={"number": Number(7)})

    text = written(logger, format, say)
    for part in ("with <unbound> and {'b': 2}", "the reason", "of a number", "{'a': 1}", "counted"):
        assert part in text
    assert re.search(r'number"?[=:]7\b', text)


def test_the_level_is_honoured(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logger.addHandler(new_handler(stream, format="text", level="warning", queued=False))
    logger.info("no")
    logger.warning("yes")
    assert "no" not in stream.getvalue().split() and "yes" in stream.getvalue().split()


def test_colours_are_for_terminals_only(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    logger.addHandler(new_handler(stream, queued=False))
    logger.error("x")
    assert "\x1b[31m" in stream.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    logger.addHandler(new_handler(plain, queued=False))
    logger.error("x")
    assert "\x1b" not in plain.getvalue()


def test_by_itself_a_terminal_gets_text_and_what_is_none_json(logger: logging.Logger) -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        logger.addHandler(new_handler(stream, queued=False))
    logger.error("x")
    assert "ERROR" in terminal.getvalue() and not terminal.getvalue().startswith("{")
    assert json.loads(pipe.getvalue())["message"] == "x"


@pytest.mark.parametrize("options", [{"format": "xml"}, {"level": "loud"}])
def test_unknown_formats_and_levels_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        new_handler(io.StringIO(), **options)
