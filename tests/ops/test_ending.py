"""The signal that ends a process is never lost, whenever it comes."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import faulthandler, os, random, signal, threading, time
from forge_min.ops import serve
faulthandler.dump_traceback_later(100, exit=True)
begin = threading.Semaphore(0)
def send():
    while True:
        begin.acquire()
        until = time.perf_counter() + random.random() * 60e-6
        while time.perf_counter() < until:
            pass
        os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=send, daemon=True).start()
until = time.monotonic() + 5
while time.monotonic() < until:
    with serve._signals(True, False) as ended:
        begin.release()
        ended.wait()
print("ended", flush=True)
os._exit(0)
"""


@pytest.mark.thorough
def test_a_signal_that_comes_just_before_the_waiting_ends_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, timeout=120)
    assert done.stdout == b"ended\n", done.stderr.decode()
