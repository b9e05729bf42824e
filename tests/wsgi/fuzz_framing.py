"""Compares the native framing of requests with the Python reader, on random streams of requests.

    python tests/wsgi/fuzz_framing.py --executions 100000 --seed 7        (make fuzz)

An execution is one call of `fanout.try_read_request`. If it takes a request, the reader must return
the same environ, the same body and the same remaining bytes. It must not take a request that the
reader refuses or that is incomplete, and then it must not remove a byte. For some streams this is
compared at each point at which the stream may be cut, with a reader that gets the parts one by one.

Further streams are sent to a server in random pieces. The application must get the requests that
`read_requests` returns for the same bytes, and the client the status of the refusal.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import random
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from forge_min import fanout
from forge_min.wsgi import Server
from forge_min.wsgi.http1 import ExpectedBody, Phase, ProtocolError, Reader, read_requests

from wsgi.streams import MAX_BODY, Streams

BASE = {"REMOTE_ADDR": "192.0.2.1"}
PER_CHUNK = 10_000  # executions of one unit of work
PREFIXES = 1 / 60  # share of the streams that are compared at each cut
SENT = 96  # streams of a chunk that are sent to the server
AT_ONCE = 8  # connections
DEADLINE = 60.0  # seconds
SHORTEN_FOR = 10.0  # seconds
# After it no request is incomplete: a chunk, a body and a head end here, or are refused.
TAIL = b"A" * (MAX_BODY + 10) + b"\r\n\r\n"
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

Environ = dict[str, Any]
Frame = Callable[[bytearray, Environ, int], "Environ | None"]
Outcome = Environ | Phase | int
"""A request, the reason why it is incomplete, or the status of its refusal."""


class Difference(Exception):
    """The two results of a stream are not the same."""


# -- in this process -------------------------------------------------------------------------------


def advance(reader: Reader) -> Outcome:
    """Return what the reader makes of the bytes that it has."""
    try:
        while isinstance(arrived := next(reader), ExpectedBody):
            pass
    except ProtocolError as err:
        return err.status
    if isinstance(arrived, dict):
        arrived["wsgi.input"] = arrived["wsgi.input"].read()
    return arrived


def framed(frame: Frame, data: bytearray) -> Environ | None:
    """Return the request that the native framing takes, and remove it; None if it takes none."""
    before = bytes(data)
    environ = frame(data, BASE, MAX_BODY)
    if environ is not None:
        environ["wsgi.input"] = environ["wsgi.input"].read()
    elif data != before:
        raise Difference("bytes were changed, but no request was taken")
    return environ


def compare(taken: Environ | None, left: bytearray, outcome: Outcome, rest: bytes) -> None:
    """Raise Difference unless a request that was taken is that of the reader.

    left: bytes after it.
    outcome, rest: result of the reader, and the bytes after it.
    """
    if taken is None:
        return
    if not isinstance(outcome, dict):
        raise Difference(f"{taken} was taken, but the result of the reader is {outcome}")
    if taken != outcome:
        raise Difference(f"{taken} was taken, but the reader returns {outcome}")
    if left != rest:
        raise Difference(f"{bytes(left)!r} is left, but the reader leaves {rest!r}")


def compare_stream(stream: bytes, frame: Frame, counts: Counter[str]) -> None:
    """Compare each request of a stream. Raises Difference."""
    while stream:
        left, rest = bytearray(stream), bytearray(stream)
        taken, outcome = framed(frame, left), advance(read_requests(rest, BASE, MAX_BODY))
        counts["executions"] += 1
        compare(taken, left, outcome, rest)
        counts["taken"] += taken is not None
        if not isinstance(outcome, dict):
            counts["refused" if isinstance(outcome, int) else "incomplete"] += 1
            return
        counts["requests"] += 1
        stream = bytes(rest)


def compare_prefixes(stream: bytes, cuts: list[int], frame: Frame, counts: Counter[str]) -> None:
    """Compare the first request of a stream that arrives in parts. Raises Difference.

    cuts: the ends of the parts, in order.
    """
    data = bytearray()
    reader = read_requests(data, BASE, MAX_BODY)
    outcome: Outcome = Phase.IDLE
    begin = end = 0
    first: bool | None = None
    for cut in cuts:
        if isinstance(outcome, Phase):
            data += stream[begin:cut]
            outcome, begin = advance(reader), cut
            end = cut - len(data)
        left = bytearray(stream[:cut])
        taken = framed(frame, left)
        counts["executions"] += 1
        counts["prefixes"] += 1
        compare(taken, left, outcome, stream[end:cut])
        if isinstance(outcome, dict):
            if first not in (None, taken is not None):
                raise Difference("whether it is taken depends on the bytes after the request")
            first = taken is not None
    whole = advance(read_requests(bytearray(stream[: cuts[-1]]), BASE, MAX_BODY))
    if whole != outcome:
        raise Difference(f"in parts the result of the reader is {outcome}, at once it is {whole}")


def difference(stream: bytes, frame: Frame = fanout.try_read_request) -> str:
    """Return the difference of a stream, as one stream and in parts; "" if there is none."""
    counts: Counter[str] = Counter()
    step = len(stream) // 400 + 1
    try:
        compare_stream(stream, frame, counts)
        if stream:
            cuts = [*range(step, len(stream), step), len(stream)]
            compare_prefixes(stream, cuts, frame, counts)
    except Difference as err:
        return str(err)
    except Exception as err:
        return repr(err)
    return ""


def shortened(stream: bytes, frame: Frame) -> bytes:
    """Return a shorter stream with a difference, unless that takes too long."""
    size, until = len(stream) // 2, time.monotonic() + SHORTEN_FOR
    while size:
        at = 0
        while at < len(stream) and time.monotonic() < until:
            shorter = stream[:at] + stream[at + size :]
            if difference(shorter, frame):
                stream = shorter
            else:
                at += size
        size //= 2
    return stream


def run_chunk(seed: str, executions: int, frame: Frame = fanout.try_read_request) -> Counter[str]:
    """Compare random streams. Raises Difference with an example."""
    streams, counts = Streams(seed), Counter[str]()
    rng = streams.rng
    while counts["executions"] < executions:
        stream = streams.next()
        counts["streams"] += 1
        try:
            compare_stream(stream, frame, counts)
            if stream and rng.random() < PREFIXES:
                cuts = range(1, len(stream) + 1)
                some = list(cuts) if len(stream) < 400 else sorted(rng.sample(cuts, 100))
                compare_prefixes(stream, some, frame, counts)
        except Exception as err:
            shorter = shortened(stream, frame)
            reason = difference(shorter, frame) or repr(err)
            raise Difference(f"{reason}\nwsgi.fuzz_framing.difference({shorter!r})") from None
    if BASE != {"REMOTE_ADDR": "192.0.2.1"}:
        raise Difference(f"the constant part of the environ was changed: {BASE}")
    return counts


# -- over sockets ----------------------------------------------------------------------------------


def key_of(environ: Environ) -> tuple[Any, ...]:
    """Return what a client determines of a request."""
    fields = {k: v for k, v in environ.items() if k.startswith(("HTTP_", "CONTENT_"))}
    line = [environ[n] for n in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING")]
    return *line, environ["SERVER_PROTOCOL"], fields, environ["wsgi.input"].read()


def persists(environ: Environ) -> bool:
    """Return whether the connection persists after the response (RFC 9112 section 9.3)."""
    names = [name.strip() for name in environ.get("HTTP_CONNECTION", "").lower().split(",")]
    modern = environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    return "close" not in names and (modern or "keep-alive" in names)


def expected(stream: bytes) -> tuple[list[tuple[Any, ...]], list[int]]:
    """Return the requests of a connection, and the statuses of its responses."""
    found: list[tuple[Any, ...]] = []
    try:
        for arrived in read_requests(bytearray(stream), {}, MAX_BODY):
            if isinstance(arrived, dict):
                found.append(key_of(arrived))
                if persists(arrived):
                    continue
            elif isinstance(arrived, ExpectedBody):
                continue
            break
    except ProtocolError as err:
        return found, [200] * len(found) + [err.status]
    return found, [200] * len(found)


class Target:
    """A server that records the requests of each connection."""

    def __init__(self) -> None:
        limits = dict.fromkeys(
            ("header_timeout", "body_timeout", "write_timeout", "keepalive"), 2 * DEADLINE
        )
        self.requests: dict[str, list[tuple[Any, ...]]] = {}
        self.server = Server(("127.0.0.1", 0), self.app, threads=2, max_body=MAX_BODY, **limits)
        self.server.start()

    def app(self, environ: Environ, start_response: Any) -> list[bytes]:
        self.requests.setdefault(environ["REMOTE_PORT"], []).append(key_of(environ))
        start_response("200 OK", [])
        return [b"ok"]

    def check(self, streams: list[bytes], rng: random.Random) -> None:
        """Send each stream on a connection of its own, all at the same time. Raises Difference."""
        with ExitStack() as stack:
            peers = []
            for stream in streams:
                sock = socket.create_connection(("127.0.0.1", self.server.server_port), DEADLINE)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peers.append((stack.enter_context(sock), stream))
                self.requests.pop(str(sock.getsockname()[1]), None)
            for (sock, stream), data in zip(peers, talk(peers, rng)):
                got = self.requests.pop(str(sock.getsockname()[1]), [])
                statuses = [int(s) for s in STATUS.findall(data) if s != b"100"]
                wanted = expected(stream)
                if (got, statuses) != wanted:
                    raise Difference(
                        f"the application got {got}, the client {statuses}; they must get"
                        f" {wanted}\nsent in pieces: {stream!r}\nreceived: {data[-400:]!r}"
                    )


def talk(peers: list[tuple[socket.socket, bytes]], rng: random.Random) -> list[bytes]:
    """Send the streams in random pieces, in turn, and return all that is received."""
    sizes = [rng.choice([1, 2, 7, 50, 400, 9000, 100_000]) for _ in peers]
    waiting = [(sock, memoryview(stream), size) for (sock, stream), size in zip(peers, sizes)]
    while waiting:
        rest = []
        for sock, data, size in waiting:
            piece = max(rng.randint(1, size), len(data) // 200)
            sock.sendall(data[:piece])
            if piece < len(data):
                rest.append((sock, data[piece:], size))
            else:
                sock.shutdown(socket.SHUT_WR)
        waiting = rest
        if rng.random() < 0.02:
            time.sleep(0.001)
    return [received(sock) for sock, _ in peers]


def received(sock: socket.socket) -> bytes:
    """Return all bytes up to the end of the connection."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


def send_chunk(target: Target, seed: str, count: int) -> Counter[str]:
    """Send random streams to a server. Raises Difference."""
    streams = Streams(seed)
    for _ in range(0, count, AT_ONCE):
        some = [streams.next() + TAIL for _ in range(AT_ONCE)]
        try:
            target.check(some, streams.rng)
        except OSError as err:
            raise Difference(f"a connection failed: {err!r}\none of {some!r}") from None
    return Counter(sent=count)


# -- as a program ----------------------------------------------------------------------------------

target: Target | None = None  # of this process


def run_job(job: tuple[str, int]) -> tuple[Counter[str], str]:
    """Run one chunk. Returns its counts and its difference, or ""."""
    global target
    seed, executions = job
    try:
        target = target or Target()
        counts = run_chunk(seed, executions)
        return counts + send_chunk(target, f"{seed} sent", SENT), ""
    except Difference as err:
        return Counter(), f"chunk {seed!r}: {err}"


def main() -> int:
    """Return 0 if there is no difference."""
    parser = argparse.ArgumentParser(
        description="Compare the native framing of requests with the Python reader.",
        epilog="Example: python tests/wsgi/fuzz_framing.py --executions 100000 --seed 7",
    )
    parser.add_argument("--executions", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--seed", type=int, metavar="N", help="random unless it is set")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    logging.disable(logging.CRITICAL)
    size = min(PER_CHUNK, options.executions)
    jobs = [(f"{seed}/{n}", size) for n in range(-(-options.executions // size))]
    counts, began, wrong = Counter[str](), time.monotonic(), ""
    with multiprocessing.get_context("fork").Pool(options.processes) as pool:
        for made, wrong in pool.imap_unordered(run_job, jobs):
            counts += made
            if sys.stderr.isatty():
                print(f"\r{counts['executions']:,} executions", end="", file=sys.stderr)
            if wrong:
                break
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if not wrong and fanout.IMPL == "c" and not counts["taken"]:
        wrong = "the native framing has taken no request"
    for name in ("streams", "executions", "prefixes", "requests", "taken", "refused", "sent"):
        print(f"{counts[name]:>12,} {name}")
    print(f"{time.monotonic() - began:.0f} s, core {fanout.IMPL}, seed {seed}")
    if wrong:
        print(f"DIFFERENCE: {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
