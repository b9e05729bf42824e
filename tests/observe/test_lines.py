"""Lines leave whole and in order, nobody waits for the stream, and what is lost is counted."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import pytest
from forge_min.observe import LineWriter, line_writer, new_handler
from forge_min.observe.logs import writer as lines_module
from forge_min.observe.logs.writer import _CAPACITY, _CONGESTED

PIPE = 1 << 16  # bytes that a pipe holds (pipe(7))


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    read, write = os.pipe()
    with open(write, "w", encoding="utf-8") as stream:
        yield read, stream
    os.close(read)


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


def everything(fd: int) -> Callable[[], bytes]:
    """Read a descriptor on a thread until its end; what came, when that is over."""
    found = io.BytesIO()

    def read() -> None:
        while data := os.read(fd, 1 << 16):
            found.write(data)

    thread = threading.Thread(target=read)
    thread.start()

    def came() -> bytes:
        thread.join(20)
        assert not thread.is_alive()
        return found.getvalue()

    return came


def test_a_pipe_that_nobody_reads_makes_nobody_wait_and_every_lost_line_is_counted(
    pipe: tuple[int, TextIO],
) -> None:
    read, stream = pipe
    writer = LineWriter(stream)
    writer.start()
    count, longest = 60_000, 0.0
    for n in range(count):
        started = time.perf_counter()
        writer.put(f"{n:06d} {'x' * 60}\n")
        longest = max(longest, time.perf_counter() - started)
    assert longest < 5.0  # one that waits for the pipe never returns
    assert not writer.flush(0.1)
    assert writer.dropped["full"] > count - 2 * _CAPACITY - 2 * (PIPE // 68)
    came = everything(read)
    assert writer.flush(20)
    writer.stop()
    stream.close()
    lines = came().decode().splitlines()
    numbers = [int(line[:6]) for line in lines]
    assert all(len(line) == 67 for line in lines)
    assert numbers == sorted(set(numbers))
    assert len(numbers) + writer.dropped["full"] == count


def test_many_threads_at_a_slow_pipe_account_for_every_line(pipe: tuple[int, TextIO]) -> None:
    read, stream = pipe
    writer = LineWriter(stream)
    writer.start()

    def put(thread: int) -> None:
        for n in range(10_000):
            writer.put(f"{thread} {n}\n")

    threads = [threading.Thread(target=put, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    came = everything(read)
    writer.stop(20)
    stream.close()
    lines = came().decode().splitlines()
    assert len(set(lines)) == len(lines)
    assert len(lines) + writer.dropped["full"] == 80_000
    for thread in range(8):
        own = [int(line.split()[1]) for line in lines if line.startswith(f"{thread} ")]
        assert own == sorted(own)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each pause was that a thread made for the writer; they take no time here."""
    made: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: 100 + sum(made), sleep=made.append)
    monkeypatch.setattr(lines_module, "time", clock)
    return made


def test_who_logs_pauses_for_a_writer_that_is_late_but_not_for_long(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that goes from one system call to the next may keep the writer from its turn."""
    writer = LineWriter(io.StringIO())
    taken, write = threading.Event(), writer._write
    monkeypatch.setattr(writer, "_write", lambda lines: (taken.set(), write(lines)))
    writer.start()
    for _ in range(2):
        with writer._writing:
            taken.clear()
            writer.put("x\n")
            assert taken.wait(20)
            for _ in range(_CONGESTED):
                writer.put("x\n")
            assert not pauses
            for _ in range(2 * _CAPACITY):
                writer.put("x\n")
        assert 0.02 <= sum(pauses) < 0.022
        assert writer.flush(20)
        pauses.clear()
    assert writer.dropped["full"] == 2 * (_CONGESTED + 2 * _CAPACITY - _CAPACITY)
    writer.stop(20)


def test_many_lines_wake_a_writer_that_waits_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "_GATHER", 600.0)
    stream = io.StringIO()
    writer = LineWriter(stream)
    writer.start()
    for _ in range(2 * _CONGESTED):
        writer.put("x\n")
    until(lambda: stream.tell() > 0)
    writer.stop(20)
    assert stream.getvalue().count("x\n") == 2 * _CONGESTED
    assert not writer.dropped["full"]


def test_long_lines_take_the_room_of_many(pipe: tuple[int, TextIO]) -> None:
    read, stream = pipe
    writer = LineWriter(stream)
    writer.start()
    long = "x" * (1 << 20) + "\n"
    for _ in range(64):
        writer.put(long)
    kept = 64 - writer.dropped["full"]
    assert 8 <= kept <= 36  # twice 16 MiB, however many lines that is
    came = everything(read)
    writer.stop(20)
    stream.close()
    assert came() == long.encode() * kept


def test_a_full_disk_counts_its_lines_and_begins_the_next_one_anew(tmp_path: Path) -> None:
    """A file system of its own, which is full: /dev/full takes nothing at all."""
    with open("/dev/full", "w") as full:
        writer = LineWriter(full)
        for _ in range(3):
            writer.put("lost\n")
        writer.start()
        for _ in range(100):
            writer.put("lost\n")
        writer.stop()
        assert writer.dropped == {"full": 0, "failed": 103, "repeated": 0}


def test_a_closed_pipe_harms_nobody(pipe: tuple[int, TextIO]) -> None:
    read, stream = pipe
    writer = LineWriter(stream)
    writer.start()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, read)  # the reader is gone
    os.close(null)
    for _ in range(10):
        writer.put("x\n")
    writer.stop()
    assert writer.dropped["failed"] == 10


def test_a_descriptor_that_somebody_made_non_blocking_is_waited_for(
    pipe: tuple[int, TextIO],
) -> None:
    read, stream = pipe
    os.set_blocking(stream.fileno(), False)
    writer = LineWriter(stream)
    writer.start()
    for n in range(3000):
        writer.put(f"{n} {'y' * 100}\n")
    came = everything(read)
    assert writer.flush(20)
    writer.stop()
    stream.close()
    assert len(came().splitlines()) == 3000
    assert not any(writer.dropped.values())


@pytest.mark.thorough
def test_a_log_call_in_a_signal_handler_never_deadlocks() -> None:
    """Signals arrive in the middle of log calls, thousands of times."""
    program = """
import logging, os, signal, sys, threading, time
from forge_min.observe import new_handler
root = logging.getLogger()
root.handlers = [new_handler(sys.stderr, format="json")]
root.setLevel("INFO")
count = 0
def handle(number, frame):
    global count
    count += 1
    logging.getLogger("handler").info("signal %d", count)
signal.signal(signal.SIGUSR1, handle)
main = threading.main_thread().ident
done = threading.Event()
def send():
    while not done.is_set():
        signal.pthread_kill(main, signal.SIGUSR1)
        time.sleep(0.0002)
thread = threading.Thread(target=send)
thread.start()
until = time.monotonic() + 3
n = 0
while time.monotonic() < until:
    n += 1
    logging.getLogger("main").info("line %d", n)
done.set()
thread.join()
print(count, n)
"""
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program], capture_output=True, timeout=60
    )
    assert run.returncode == 0, run.stderr[-2000:]
    count, n = map(int, run.stdout.split())
    assert count > 100 and n > 100
    assert b"signal" in run.stderr and b"RuntimeError" not in run.stderr


def test_a_forked_child_goes_on_with_a_thread_of_its_own_and_doubles_nothing() -> None:
    """Forks while other threads log, so whatever lock there is may be held at that moment."""
    program = """
import logging, os, sys, threading
from forge_min.observe import new_handler
root = logging.getLogger()
root.handlers = [new_handler(sys.stderr, format="json")]
root.setLevel("INFO")
done = threading.Event()
def busy():
    while not done.is_set():
        logging.getLogger("busy").info("noise")
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads:
    thread.start()
for n in range(50):
    child = os.fork()
    if not child:
        logging.getLogger("child").info("child %d.", n)
        logging.shutdown()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
done.set()
for thread in threads:
    thread.join()
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, timeout=120
    )
    assert run.returncode == 0, run.stderr[-2000:]
    for n in range(50):
        assert run.stderr.count(b"child %d." % n) == 1


def test_what_waits_is_written_at_the_end_of_the_process() -> None:
    program = """
import logging, sys
from forge_min.observe import new_handler
logging.getLogger().addHandler(new_handler(sys.stderr))
logging.warning("the last words")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert b"the last words" in run.stderr


@pytest.mark.thorough
def test_a_process_ends_though_its_log_is_stuck() -> None:
    program = """
import logging, sys
from forge_min.observe import new_handler
logging.getLogger().addHandler(new_handler(sys.stderr))
for n in range(5000):
    logging.getLogger(f"l{n}").warning("x" * 100)
print("done", flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.wait(60) == 0
    process.communicate()


def test_the_lines_of_handler_and_access_log_go_through_one_writer() -> None:
    stream = io.StringIO()
    assert line_writer(stream) is line_writer(stream)
    assert line_writer(stream) is not line_writer(io.StringIO())


def test_a_handler_that_is_closed_ends_the_thread_that_it_started(
    pipe: tuple[int, TextIO],
) -> None:
    _, stream = pipe
    handler = new_handler(stream)
    other = new_handler(stream)
    other.close()
    assert "log-writer" in [thread.name for thread in threading.enumerate()]
    handler.handle(logging.makeLogRecord({"msg": "x"}))
    handler.close()
    assert "log-writer" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.thorough
def test_a_put_in_a_signal_handler_interrupts_a_put(pipe: tuple[int, TextIO]) -> None:
    read, stream = pipe
    writer = LineWriter(stream)
    writer.start()
    before = signal.signal(signal.SIGALRM, lambda number, frame: writer.put("signal\n"))
    try:
        for _ in range(300):
            signal.setitimer(signal.ITIMER_REAL, 0.00001)
            writer.put("main\n")
            assert writer.flush(20)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    came = everything(read)
    writer.stop(10)
    stream.close()
    assert came().count(b"main\n") == 300


def test_processes_that_share_a_pipe_do_not_mix_their_lines() -> None:
    """Three of them, at a pipe that is read slowly, with more than it holds."""
    program = """
import sys
from forge_min.observe import LineWriter
writer = LineWriter(sys.stdout)
writer.start()
for n in range(3000):
    writer.put(f"<{sys.argv[1]} {n} {'z' * (n % 300)}>\\n")
writer.stop(60)
"""
    read, write = os.pipe()
    command = [sys.executable, "-c", program]
    writers = [subprocess.Popen([*command, str(n)], stdout=write) for n in range(3)]
    os.close(write)
    came = everything(read)()
    assert [each.wait(20) for each in writers] == [0, 0, 0]
    os.close(read)
    lines = came.decode().splitlines()
    assert len(lines) == 9000 and all(line[0] == "<" and line[-1] == ">" for line in lines)


def test_without_its_thread_it_may_be_told_not_to_wait(pipe: tuple[int, TextIO]) -> None:
    """As the parent of several processes, which may have no thread before it forks."""
    _, stream = pipe
    writer = LineWriter(stream)
    writer.blocks = False
    for _ in range(3000):
        writer.put("x" * 99 + "\n")
    assert writer.dropped["full"] > 2000


def test_what_comes_after_a_stop_that_did_not_end_is_counted(pipe: tuple[int, TextIO]) -> None:
    read, stream = pipe
    writer = LineWriter(stream)
    writer.start()
    for _ in range(3000):
        writer.put("x" * 99 + "\n")
    writer.stop(0.2)
    before = writer.dropped["full"]
    writer.put("late\n")
    assert writer.dropped["full"] == before + 1
    writer.start()
    came = everything(read)
    writer.put("again\n")
    assert writer.flush(20)
    writer.stop(20)
    until(lambda: "log-writer" not in [thread.name for thread in threading.enumerate()])
    stream.close()
    lines = came().splitlines()
    assert b"again" in lines and set(map(len, lines)) == {99, 5}


def test_a_stream_that_raises_whatever_it_likes_loses_its_lines_and_no_more() -> None:
    class Strange(io.StringIO):
        def write(self, text: str) -> int:
            raise RuntimeError("strange")

    writer = LineWriter(Strange())
    writer.start()
    for _ in range(3):
        writer.put("x\n")
        assert writer.flush()
    writer.stop()
    assert writer.dropped == {"full": 0, "failed": 3, "repeated": 0}
