"""A process may end at any moment while a writer runs: it must neither crash nor hang."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

PROGRAM = """
import os, socket, sys, threading
import {module} as core
writer = core.StreamWriter(heartbeat=0.01)
writer.start()
topic = core.Topic(8)
limiter = core.Limiter(max_total=99, max_per_user=99)
clients = []
for _ in range(20):
    ours, theirs = socket.socketpair()
    clients.append(theirs)
    writer.adopt(ours.detach(), [topic.subscribe()], limiter.acquire("ann"), b"hello")
def publish():
    while True:
        topic.publish(b"x" * 100)
threading.Thread(target=publish, daemon=True).start()
for client in clients[:10]:
    client.recv(5)
    client.close()
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise KeyError", 1),
        ("os._exit(4)", 4),
        ("writer.stop(timeout=0.5); sys.exit(5)", 5),
        ("del writer, topic, limiter", 0),
    ],
)
def test_a_process_ends_cleanly(core: ModuleType, end: str, code: int) -> None:
    program = PROGRAM.format(module=core.__name__, end=end)
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == code, done.stderr
        assert "Fatal" not in done.stderr
