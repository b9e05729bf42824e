"""Load on one URL by one of two clients: wrk, or Python processes with raw sockets."""

from __future__ import annotations

import multiprocessing
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.pool import AsyncResult
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

WRK, PYTHON = "wrk", "python"
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


class Client(NamedTuple):
    """A program that asks, and its number of connections.

    program: WRK, one process with one thread; or PYTHON, one process per connection.
    """

    program: str
    connections: int

    @classmethod
    def parse(cls, text: str) -> Client:
        """Return the client of a text like "wrk:16". Raises ValueError for any other text."""
        program, _, connections = text.partition(":")
        if program not in (WRK, PYTHON) or not connections.isdecimal():
            raise ValueError(f"{text!r} is not wrk:CONNECTIONS or python:CONNECTIONS")
        return cls(program, int(connections))

    def __str__(self) -> str:
        return f"{self.program}, {self.connections} connection" + "s" * (self.connections != 1)


class Target(NamedTuple):
    """What is asked.

    body: of a POST with JSON, or "" for GET.
    header: one more header, "Name: value", or "".
    """

    url: str
    body: str = ""
    header: str = ""


class Figures(NamedTuple):
    """The result. p50 and p99 in milliseconds; failed: responses other than 2xx, or missing."""

    requests: int
    per_second: float
    p50: float
    p99: float
    failed: int


def fastest_program() -> str:
    """Return WRK if it is installed, otherwise PYTHON and a line on stderr."""
    if shutil.which("wrk"):
        return WRK
    print("SKIPPED: every figure of wrk, which is not installed (Debian: wrk)", file=sys.stderr)
    return PYTHON


def load(target: Target, client: Client, seconds: float) -> Figures:
    """Ask as fast as responses come, on all connections of the client.

    seconds: rounded to whole ones for wrk, at least 1.
    """
    ask = _wrk if client.program == WRK else _python
    return ask(target, client.connections, seconds)


@contextmanager
def background(target: Target, connections: int) -> Iterator[Callable[[], int]]:
    """Ask by Python processes until the block ends; yield a function that counts the failures.

    Raises ConnectionError at the end if a connection has ended before.
    """
    context = multiprocessing.get_context("fork")
    failures = context.Value("i", 0)
    processes = [
        context.Process(target=_keep_asking, args=(target, failures), daemon=True)
        for _ in range(connections)
    ]
    for process in processes:
        process.start()
    try:
        yield lambda: int(failures.value)
        ended = sum(not process.is_alive() for process in processes)
        if ended:
            raise ConnectionError(f"{ended} of {connections} connections to {target.url} ended")
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _keep_asking(target: Target, failures: Synchronized[int]) -> None:
    while True:
        failed = _ask(target, 0.5)[1]
        with failures.get_lock():
            failures.value += failed


def _wrk(target: Target, connections: int, seconds: float) -> Figures:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "--latency"]
    command += ["-H", target.header] if target.header else []
    with tempfile.TemporaryDirectory() as folder:
        if target.body:
            script = Path(folder, "post.lua")
            script.write_text(
                f'wrk.method = "POST"\nwrk.body = [==[{target.body}]==]\n'
                'wrk.headers["Content-Type"] = "application/json"\n'
            )
            command += ["-s", str(script)]
        text = subprocess.run(
            [*command, target.url], capture_output=True, text=True, check=True
        ).stdout

    def number(pattern: str) -> float:
        found = re.search(pattern, text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def milliseconds(percent: int) -> float:
        found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s)$", text, re.MULTILINE)
        return float(found[1]) * _MS[found[2]] if found else 0.0

    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text
    )
    failed = int(number(r"Non-2xx or 3xx responses: (\d+)"))
    failed += sum(int(item) for item in errors.groups()) if errors else 0
    if failed:
        lines = re.findall(r"^ *((?:Socket errors|Non-2xx).*)$", text, re.MULTILINE)
        print(f"{target.url}: {'; '.join(lines)}", file=sys.stderr)
    return Figures(
        int(number(r"(\d+) requests in")),
        number(r"Requests/sec:\s+([\d.]+)"),
        milliseconds(50),
        milliseconds(99),
        failed,
    )


def _ask(target: Target, seconds: float) -> tuple[list[float], int]:
    """Use one connection; return the milliseconds of each response, and the failures."""
    parts = urlsplit(target.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    body = target.body.encode()
    head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    head += f"{target.header}\r\n" if target.header else ""
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    wire = head.encode() + b"\r\n" + body
    times, failed, until = [], 0, time.perf_counter() + seconds
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (began := time.perf_counter()) < until:
            sock.sendall(wire)
            failed += not _answer(sock).startswith(b"HTTP/1.1 2")
            times.append((time.perf_counter() - began) * 1e3)
    return times, failed


def _answer(sock: socket.socket) -> bytes:
    """Read one response with a Content-Length; return its head."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536) or _ended()
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    left = (int(length[1]) if length else 0) - len(body)
    while left > 0:
        left -= len(sock.recv(65536) or _ended())
    return head


def _ended() -> bytes:
    raise ConnectionError("the server closed the connection")


def _python(target: Target, connections: int, seconds: float) -> Figures:
    with multiprocessing.Pool(connections) as pool:
        jobs: list[AsyncResult[tuple[list[float], int]]] = [
            pool.apply_async(_ask, (target, seconds)) for _ in range(connections)
        ]
        done = [job.get(seconds + 60) for job in jobs]
    times = sorted(item for row, _ in done for item in row)
    failed = sum(row for _, row in done)
    at = len(times) - 1
    return Figures(len(times), len(times) / seconds, times[at // 2], times[at * 99 // 100], failed)
