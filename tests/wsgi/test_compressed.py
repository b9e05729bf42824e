"""Streamed answers as gzip, over a real socket: what goes out when, and what is closed."""

from __future__ import annotations

import gzip
import http.client
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator

import pytest
from forge_min.wsgi import Application, Compress, Response, Router, Server

from wsgi.conftest import Connect, Peer, Serve

TAKES = "Accept-Encoding: gzip\r\n"
CSV = "text/csv; charset=utf-8; header=present"
ROWS = [b"number,gate\r\n"] + [b"AF %d,A1\r\n" % n for n in range(3000)]


class Body:
    """Pieces that tell when they are closed."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.closed = threading.Semaphore(0)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def close(self) -> None:
        self.closed.release()


def serving(serve: Serve, body: Iterable[bytes], kind: str, *headers: tuple[str, str]) -> Server:
    """A server that answers with this body."""
    router = Router()
    found = [("Content-Type", kind), *headers]
    router.add("GET", "/", lambda request: Response(200, body, found))
    return serve(Application(router, outer=[Compress()]))


@pytest.mark.parametrize("kind", [CSV, "application/json", "text/html", "application/problem+json"])
@pytest.mark.parametrize("made", [list, iter, Body], ids=["list", "iterator", "closed"])
def test_a_streamed_text_is_smaller_and_whole(
    serve: Serve, connect: Connect, kind: str, made: Callable[[list[bytes]], Iterable[bytes]]
) -> None:
    body = made([ROWS[0], b"", b"".join(ROWS[1:1500]), b"".join(ROWS[1500:])])
    answer = connect(serving(serve, body, kind)).get(extra=TAKES).answer()
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert gzip.decompress(answer.body) == b"".join(ROWS)
    assert len(answer.body) < len(b"".join(ROWS)) / 3
    if isinstance(body, Body):
        assert body.closed.acquire(timeout=10)
        assert not body.closed.acquire(blocking=False)  # once


def test_an_empty_stream_is_an_empty_text(serve: Serve, connect: Connect) -> None:
    answer = connect(serving(serve, iter([]), CSV)).get(extra=TAKES).answer()
    assert gzip.decompress(answer.body) == b""


def test_a_length_that_was_given_is_not_sent(serve: Serve, connect: Connect) -> None:
    body, size = b"".join(ROWS), str(len(b"".join(ROWS)))
    server = serving(serve, iter([body]), CSV, ("Content-Length", size))
    packed = connect(server).get(extra=TAKES).answer()
    assert "content-length" not in packed.headers and gzip.decompress(packed.body) == body


@pytest.mark.parametrize(
    ("kind", "header", "asked"),
    [
        ("text/event-stream", None, TAKES),
        ("text/event-stream; charset=utf-8", None, TAKES),
        ("image/png", None, TAKES),
        (CSV, ("Content-Encoding", "br"), TAKES),
        (CSV, ("ETag", '"1"'), TAKES),
        (CSV, None, ""),
        (CSV, None, "Accept-Encoding: gzip;q=0\r\n"),
    ],
)
def test_what_is_packed_already_or_waited_for_stays_as_it_is(
    serve: Serve, connect: Connect, kind: str, header: tuple[str, str] | None, asked: str
) -> None:
    server = serving(serve, iter(ROWS), kind, *([header] if header else []))
    answer = connect(server).get(extra=asked).answer()
    assert answer.body == b"".join(ROWS)
    was_packed = header == ("Content-Encoding", "br")
    assert answer.headers.get("content-encoding") == ("br" if was_packed else None)


def test_each_piece_is_there_before_the_next_is_made(serve: Serve, connect: Connect) -> None:
    seen = threading.Semaphore(0)

    def pieces() -> Iterator[bytes]:
        yield b"first,"
        assert seen.acquire(timeout=10)
        yield b"second"

    peer = connect(serving(serve, pieces(), "text/plain")).get(extra=TAKES)
    peer.until(b"\r\n\r\n")
    unpacker = zlib.decompressobj(wbits=31)
    assert unpacker.decompress(chunk(peer)) == b"first,"
    seen.release()
    found = b""
    while piece := chunk(peer):
        found += unpacker.decompress(piece)
    assert found + unpacker.flush() == b"second" and unpacker.eof


def chunk(peer: Peer) -> bytes:
    size = int(peer.until(b"\r\n"), 16)
    out = peer.exactly(size)
    peer.exactly(2)
    return out


def test_a_head_request_and_a_client_that_leaves_close_the_body(
    serve: Serve, connect: Connect
) -> None:
    body = Body(ROWS)
    answer = connect(serving(serve, body, CSV)).get(extra=TAKES, method="HEAD").answer(True)
    assert answer.headers["content-encoding"] == "gzip"
    assert body.closed.acquire(timeout=10)
    endless = Body(iter(lambda: b"x" * 100_000, b""))
    peer = connect(serving(serve, endless, "text/plain")).get(extra=TAKES)
    assert peer.more()
    peer.close()
    assert endless.closed.acquire(timeout=10)


def test_a_stream_that_fails_has_no_good_end(serve: Serve) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"some rows"
        raise RuntimeError("the database is away")

    server = serving(serve, pieces(), CSV)
    conn = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    conn.request("GET", "/", headers={"Accept-Encoding": "gzip"})
    with pytest.raises(http.client.IncompleteRead):
        conn.getresponse().read()
    conn.close()
