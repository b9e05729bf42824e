"""A short run of `make fuzz` for the framing of requests, and differences that it must find."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from forge_min.wsgi.http1 import ExpectedBody, ProtocolError, read_requests

from wsgi.fuzz_framing import Difference, difference, run_chunk

TESTS = Path(__file__).parents[1]
BODY = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nhello"


def framing(change):
    """A native framing with a fault: it takes what `change` returns for the reader's request."""

    def frame(data, base, most):
        copy = bytearray(data)
        try:
            requests = read_requests(copy, base, most)
            while isinstance(arrived := next(requests), ExpectedBody):
                pass
        except ProtocolError:
            return None
        if not isinstance(arrived, dict):
            return None
        environ, left = change(arrived, copy)
        data[:] = left
        return environ

    return frame


def correct(environ, left):
    return environ, left


def with_one_byte_too_many(environ, left):
    return environ, left[1:]


def without_cookies(environ, left):
    environ.pop("HTTP_COOKIE", None)
    return environ, left


def with_a_shorter_body(environ, left):
    environ["wsgi.input"].read(1)
    return environ, left


def only_before_a_second_request(environ, left):
    return (environ, left) if left else (None, left)


def takes_a_refused_length(data, base, most):
    if data.startswith(b"POST") and b"Content-Length: +5\r\n" in data:
        return {"wsgi.input": io.BytesIO()}
    return None


def removes_what_it_leaves_alone(data, base, most):
    del data[:1]


@pytest.mark.parametrize(
    "change",
    [with_one_byte_too_many, without_cookies, with_a_shorter_body, only_before_a_second_request],
)
def test_a_request_that_is_taken_wrongly_is_found(change):
    run_chunk("1", 2000, framing(correct))
    with pytest.raises(Difference, match="wsgi.fuzz_framing.difference"):
        run_chunk("1", 20_000, framing(change))


@pytest.mark.parametrize("frame", [takes_a_refused_length, removes_what_it_leaves_alone])
def test_a_request_that_is_not_left_alone_is_found(frame):
    with pytest.raises(Difference, match="wsgi.fuzz_framing.difference"):
        run_chunk("1", 20_000, frame)


def test_an_example_of_a_difference_is_short():
    with pytest.raises(Difference) as raised:
        run_chunk("1", 20_000, framing(with_a_shorter_body))
    assert len(str(raised.value)) < 1000
    assert difference(BODY.replace(b"%d", b"5"), framing(with_a_shorter_body))
    assert not difference(BODY.replace(b"%d", b"5"))


@pytest.mark.parametrize("core", ["c", pytest.param("python", marks=pytest.mark.thorough)])
def test_random_streams_are_framed_as_the_reader_reads_them(core):
    if core == "c":
        pytest.importorskip("forge_min._fanout", reason="the compiled core is not built")
    command = [sys.executable, str(TESTS / "wsgi" / "fuzz_framing.py"), "--executions", "30000"]
    done = subprocess.run(
        [*command, "--processes", "1"], capture_output=True, text=True, timeout=120,
        env={**os.environ, "FORGE_IMPL": core, "PYTHONPATH": str(TESTS.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"core {core}, seed " in done.stdout
