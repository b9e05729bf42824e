"""Load on one URL: wrk where it is installed, else processes of our own with raw sockets."""

from __future__ import annotations

import multiprocessing
import re
import shutil
import socket
import subprocess
import tempfile
import time
from multiprocessing.pool import AsyncResult
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


class Target(NamedTuple):
    """What is asked. body: of a POST with JSON, or "" for GET."""

    url: str
    body: str = ""


class Figures(NamedTuple):
    """What came out. p50 and p99 in milliseconds, failed: answers that were no 2xx, or none."""

    requests: int
    per_second: float
    p50: float
    p99: float
    failed: int


def load(target: Target, connections: int, seconds: float) -> Figures:
    """Ask as fast as answers come, on `connections` connections."""
    if shutil.which("wrk"):
        return _wrk(target, connections, seconds)
    return _python(target, connections, seconds)


def _wrk(target: Target, connections: int, seconds: float) -> Figures:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "--latency"]
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
    return Figures(
        int(number(r"(\d+) requests in")),
        number(r"Requests/sec:\s+([\d.]+)"),
        milliseconds(50),
        milliseconds(99),
        failed,
    )


def _ask(target: Target, seconds: float) -> tuple[list[float], int]:
    """One connection of the client: the time of each answer in milliseconds, and the failures."""
    parts = urlsplit(target.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    body = target.body.encode()
    head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
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
    """One whole answer with a Content-Length."""
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
