"""The access log writes what the log handler would, later and together, and loses nothing."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from http import HTTPMethod, HTTPStatus
from math import floor
from typing import Any

import pytest
from forge_min.fanout import try_format_access_line
from forge_min.observe import log_fields, new_handler, span
from forge_min.observe.logs.handler import AccessLog
from hypothesis import example, given
from hypothesis import strategies as st


def both(
    format: Any, path: str, fields: dict[str, object], seconds: float = 0.00123
) -> tuple[str, str]:
    """The access log's line, and the handler's for the same."""
    ours, theirs = io.StringIO(), io.StringIO()
    logger = logging.Logger("forge_min.access")
    logger.addHandler(new_handler(theirs, format=format, queued=False))
    token = log_fields.set(fields)
    try:
        AccessLog(ours, format=format)("GET", path, 200, seconds)
        own = {"method": "GET", "status": 200, "duration": floor(seconds * 1e6 + 0.5) / 1e6}
        logger.info("%s", f"GET {path} 200 {seconds * 1e3:.1f}ms", extra=own)
    finally:
        log_fields.reset(token)
    return without_time(ours.getvalue()), without_time(theirs.getvalue())


def without_time(line: str) -> str:
    stamp = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{3}"
    assert re.search(stamp, line)
    return re.sub(stamp, "", line, count=1)


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_line_is_the_log_handlers_own(format: str) -> None:
    with span("x"):
        fields = {"request_id": "r-1", "user id": 'a "b"', "n": 1, "x": 0.5, "o": object}
        ours, theirs = both(format, "/a", fields)
    assert ours == theirs
    assert "trace_id" in ours and "r-1" in ours


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_field_cannot_replace_what_the_line_says_itself(format: str) -> None:
    ours, theirs = both(format, "/a", {"level": "debug", "message": "forged"})
    assert ours == theirs


@pytest.mark.parametrize("format", ["text", "json"])
@given(path=st.text(), key=st.text(min_size=1), value=st.text())
@example(path="/\x7f", key="a", value="\u2028")
@example(path="/\ud800", key="a", value="a")
def test_no_path_and_no_field_can_forge_a_line(
    format: str, path: str, key: str, value: str
) -> None:
    ours, theirs = both(format, path, {key: value})
    assert ours == theirs
    assert len(ours.splitlines()) == 1 and ours[:-1].isprintable()


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize(
    "path",
    [
        "/bearer hunter2hunter2",
        "/bearer\thunter2hunter2",
        "/-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
        "/\nDETAIL:  (hunter2)",
        "/[1]/postgres://u:hunter2@h",
        "/password 'hunter2'",
        "/pass%3dhunter2",
        "/user%5bpassword%5d%3Dhunter2",
    ],
)
def test_a_secret_in_a_path_is_masked(format: str, path: str) -> None:
    for ours in both(format, path, {"request_id": "r-1"}):
        assert "hunter2" not in ours and "r-1" in ours
    for ours in both(format, "/", {"user_id": path}):
        assert "hunter2" not in ours and "***" in ours


PLAIN = {"request_id": "r-1", "route": "/a/{id}"}
PLACE = (2**127 + 1, 2**63, False)


def test_a_plain_line_is_written_in_one_pass() -> None:
    line = try_format_access_line(1e9, "GET", "/a/1", 200, 0.001, PLAIN, PLACE)
    assert line is None or json.loads(line) == {
        "time": "2001-09-09T01:46:40.000+00:00",
        "level": "info",
        "logger": "forge_min.access",
        "message": "GET /a/1 200 1.0ms",
        **PLAIN,
        "trace_id": "8" + 30 * "0" + "1",
        "span_id": "8" + 15 * "0",
        "method": "GET",
        "status": 200,
        "duration": 0.001,
    }


@pytest.mark.parametrize(
    "odd", ["a b", "a%3Db", "a\\b", "a=b", "a:b", 'a"b', "a'b", "a\nb", "\x7f"]
)
def test_what_may_hold_a_secret_or_an_escape_is_not_written_in_one_pass(odd: str) -> None:
    lines = [try_format_access_line(1e9, "GET", f"/{odd}", 200, 0.1, PLAIN, None)]
    lines += [try_format_access_line(1e9, "GET", "/", 200, 0.1, {"user_id": odd}, None)]
    if odd not in ("a=b", "a:b", "a'b"):  # a route is the project's own word
        lines += [try_format_access_line(1e9, "GET", "/", 200, 0.1, {"route": odd}, None)]
    assert lines == [None] * len(lines)


@pytest.mark.parametrize("now", [-1.0, 253402300800.0, float("nan"), float("inf")])
def test_a_moment_that_is_no_date_is_not_written_in_one_pass(now: float) -> None:
    assert try_format_access_line(now, "GET", "/", 200, 0.1, {}, None) is None


@given(st.floats(0, 4e9))
def test_each_line_has_its_own_second(now: float) -> None:
    line = try_format_access_line(now, "GET", "/", 200, 0.1, {}, None)
    clock = datetime.fromtimestamp(int(now), UTC).isoformat()[:19]
    assert line is None or json.loads(line)["time"] == f"{clock}.{int(now % 1 * 1000):03d}+00:00"


TIES = st.integers(0, 10**7).map(lambda n: n / 2e4)  # of a tenth of a millisecond


@given(st.floats(0, 2e6) | TIES | st.integers(0, 200).map(lambda n: n / 1e6))
@example(0.99999995)
@example(999999.9999999)
def test_any_duration_is_told_as_the_handler_does(seconds: float) -> None:
    ours, theirs = both("json", "/a", PLAIN, seconds)
    assert ours == theirs


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())


@pytest.mark.parametrize("format", ["text", "json"])
@given(fields=st.dictionaries(st.text(min_size=1), VALUES), traced=st.booleans())
@example(fields={"trace_id": "mine", "span_id": "mine"}, traced=False)
def test_fields_of_every_kind_are_written_as_the_handler_does(
    format: str, fields: dict[str, object], traced: bool
) -> None:
    with span("x") if traced else nullcontext():
        ours, theirs = both(format, "/a", fields)
    assert ours == theirs


@pytest.mark.parametrize("seconds", [float("nan"), -1.0, 0.0, 0.00005, 0.25, 1e52, float("inf")])
@pytest.mark.parametrize("status", [200, 2**40, HTTPStatus.OK])
def test_whatever_the_numbers_are_there_is_a_line(seconds: float, status: int) -> None:
    stream = io.StringIO()
    AccessLog(stream, format="json")(HTTPMethod.GET, "/", status, seconds)
    told = json.loads(stream.getvalue())["message"]
    assert told == f"{HTTPMethod.GET} / {status} {seconds * 1e3:.1f}ms"


def test_times_are_now_and_utc_in_json() -> None:
    stream = io.StringIO()
    before = time.time()
    AccessLog(stream, format="json")("GET", "/", 200, 0.0)
    told = datetime.fromisoformat(json.loads(stream.getvalue())["time"]).timestamp()
    assert before - 0.002 <= told <= time.time()


class Stream(io.StringIO):
    """Counts its flushes; may be told to wait or to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed = threading.Semaphore(0)
        self.flushes = 0
        self.error: Exception | None = None

    def flush(self) -> None:
        self.flushes += 1
        if self.error is not None:
            raise self.error
        super().flush()
        self.flushed.release()


def lines(stream: Stream) -> list[str]:
    return stream.getvalue().splitlines()


def test_an_idle_log_writes_its_last_lines_soon() -> None:
    stream = Stream()
    log = AccessLog(stream, format="text")
    log.lines.start()
    try:
        for round in (1, 2):
            for _ in range(5):
                log("GET", "/", 200, 0.0)
            until = time.monotonic() + 10
            while len(lines(stream)) < 5 * round:
                assert stream.flushed.acquire(timeout=until - time.monotonic())
        assert stream.flushes < 10
    finally:
        log.lines.stop()


def test_many_threads_lose_and_double_no_line() -> None:
    stream = Stream()
    log = AccessLog(stream, format="json")
    log.lines.start()

    def ask(thread: int) -> None:
        for n in range(2000):
            log("GET", f"/{thread}/{n}", 200, 0.0)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    log.lines.stop()
    paths = [json.loads(line)["message"].split()[1] for line in lines(stream)]
    assert sorted(paths) == sorted(f"/{thread}/{n}" for thread in range(8) for n in range(2000))
    assert stream.flushes < 1000
    own = [path for path in paths if path.startswith("/3/")]
    assert own == [f"/3/{n}" for n in range(2000)]


def test_a_stop_writes_what_is_there_and_ends_the_thread() -> None:
    stream = Stream()
    log = AccessLog(stream, format="text")
    log.lines.start()
    log.lines.start()
    assert [t.name for t in threading.enumerate()].count("log-writer") == 1
    log("GET", "/", 200, 0.0)
    log.lines.stop()
    assert "log-writer" in [t.name for t in threading.enumerate()]
    log.lines.stop()
    log.lines.stop()
    assert len(lines(stream)) == 1
    assert "log-writer" not in [t.name for t in threading.enumerate()]
    log("GET", "/late", 200, 0.0)
    assert len(lines(stream)) == 2
    log.lines.start()
    assert "log-writer" in [t.name for t in threading.enumerate()]
    log.lines.stop()


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O operation on closed file")])
def test_a_stream_that_fails_harms_no_request(error: Exception) -> None:
    stream = Stream()
    stream.error = error
    AccessLog(stream, format="text")("GET", "/", 200, 0.0)
    assert stream.flushes == 1


@pytest.mark.parametrize(("level", "count"), [("debug", 1), ("info", 1), ("warning", 0)])
def test_the_level_is_honoured(level: str, count: int) -> None:
    stream = Stream()
    AccessLog(stream, format="text", level=level)("GET", "/", 200, 0.0)
    assert len(lines(stream)) == count


@pytest.mark.parametrize("options", [{"format": "xml"}, {"level": "loud"}])
def test_unknown_formats_and_levels_are_refused(options: Any) -> None:
    with pytest.raises(ValueError):
        AccessLog(io.StringIO(), **options)


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_field_that_cannot_be_written_is_described_and_costs_nothing_else(
    format: Any,
) -> None:
    stream = io.StringIO()
    log = AccessLog(stream, format=format)
    log.lines.start()
    for path, fields in (("/a", {"n": 1}), ("/b", {"n": 10**5000, "m": 2}), ("/c", {"n": 3})):
        token = log_fields.set(fields)
        log("GET", path, 200, 0.0)
        log_fields.reset(token)
    log.lines.stop()
    first, second, third = stream.getvalue().splitlines()
    assert "/a" in first and "/b" in second and "/c" in third
    assert "ValueError in str()" in second and re.search(r"\bm\b", second)
    assert "ValueError" not in first + third


def test_a_line_says_what_the_fields_were_when_the_request_ended() -> None:
    stream = io.StringIO()
    log = AccessLog(stream, format="json")
    log.lines.start()
    fields: dict[str, object] = {"step": "one", "list": [1]}
    token = log_fields.set(fields)
    log("GET", "/", 200, 0.0)
    fields["step"] = "two"
    fields["list"].append(2)  # type: ignore[attr-defined]
    log_fields.reset(token)
    log.lines.stop()
    line = json.loads(stream.getvalue())
    assert (line["step"], line["list"]) == ("one", "[1]")
