"""The I/O thread of the server and its tasks, without a server: both twins, over real sockets."""

from __future__ import annotations

import importlib
import queue
import signal
import socket
import threading
import time
from collections import Counter

import pytest
from forge_min import _fanout_io_py, fanout

from wsgi import io_bench
from wsgi.conftest import DEADLINE
from wsgi.io_bench import BIG, Bench, Load, answer_of, answers, finish, reset, run, whole

TWINS = ["_fanout", pytest.param("_fanout_py", marks=pytest.mark.thorough)]
CHUNKED = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(params=TWINS, ids=["c", "python"])
def core(request):
    try:
        return importlib.import_module(f"forge_min.{request.param}")
    except ImportError:
        pytest.skip("the compiled core is not built")


@pytest.fixture
def bench(core):
    made = []

    def make(perform=None, **options):
        made.append(Bench(core, perform, **options))
        return made[-1]

    yield make
    for each in made:
        each.end()


def path_of(environ):
    return environ["PATH_INFO"]


def body_of(environ):
    return environ["wsgi.input"].read()


def test_a_plain_request_is_answered_and_its_connection_used_again(bench):
    seen = []
    made = bench(answers(lambda environ: seen.append(environ) or path_of(environ)))
    peer = made.connect()
    for path in ("/first", "/second"):
        assert peer.get(path).answer().body == path.encode()
    assert made.io.connections == 1
    for environ in seen:
        port = str(peer.sock.getsockname()[1])
        got = [environ[key] for key in ("base", "REMOTE_ADDR", "REMOTE_PORT")]
        assert got == ["kept", "127.0.0.1", port]


def test_pipelined_requests_are_answered_in_order_one_at_a_time(bench):
    entered, gate = queue.Queue(), threading.Semaphore(0)

    def slow(environ):
        entered.put(path_of(environ))
        assert gate.acquire(timeout=DEADLINE)
        return path_of(environ)

    peer = bench(answers(slow), workers=4).connect()
    paths = [f"/{n}" for n in range(6)]
    peer.send("".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths))
    for path in paths:
        assert entered.get(timeout=DEADLINE) == path
        assert entered.empty()
        gate.release()
    assert [peer.answer().body.decode() for _ in paths] == paths


@pytest.mark.parametrize(("size", "piece"), [(2, 1), (500_000, 70_000)])
def test_a_request_may_come_in_single_bytes_or_pieces(bench, size, piece):
    peer = bench(answers(body_of)).connect()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
    data = head + BIG[:size]
    for begin in range(0, len(data), piece):
        peer.send(data[begin : begin + piece])
    assert peer.answer().body == BIG[:size]


def test_a_chunked_body_is_decoded_before_a_worker_gets_it(bench):
    made = bench()
    peer = made.connect().send(CHUNKED + "1\r\na")
    task = made.next()
    assert (task.kind, task.state) == ("input", None)
    assert task.value == (CHUNKED + "1\r\na").encode()
    task.put_back(len("1\r\na"))
    assert task.wait_body(fanout.CHUNKED, "first", b"continue")
    assert peer.exactly(8) == b"continue"
    for byte in "\r\n00A;x=y\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n":
        assert made.tasks.empty()
        peer.send(byte)
    task = made.next()
    assert (task.kind, task.value, task.state) == ("body", b"a0123456789", "first")
    assert task.waited > 0
    assert task.respond(answer_of("done"))
    assert peer.answer().body == b"done"


def test_bytes_after_a_body_are_the_next_request(bench):
    made = bench(answers(body_of))
    data = CHUNKED + "3\r\none\r\n0\r\n\r\n" + CHUNKED + "3\r\ntwo\r\n0\r\n\r\n"
    sized = "POST /%20 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nthree"
    peer = made.connect().send(data + sized + "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [peer.answer().body for _ in range(4)] == [b"one", b"two", b"three", b""]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("x\r\n", "malformed"),
        ("1\r\naa\r\n", "malformed"),
        ("0\r\nno field\r\n\r\n", "malformed"),
        ("1;" + "x" * 1024, "malformed"),
        ("65\r\n", "too large"),
        ("FFFFFFFFFFFFFFFF\r\n", "too large"),
    ],
)
def test_a_chunked_body_is_refused_by_the_same_rules(bench, body, reason):
    made = bench(max_body=100)
    peer = made.connect().send(CHUNKED)
    assert made.next().wait_body(fanout.CHUNKED, "state")
    peer.send(body)
    task = made.next()
    assert (task.kind, task.value, task.state) == ("refused", reason, "state")
    assert task.end(b"refused")
    assert whole(peer) == b"refused"


def test_chunks_of_64_bytes_are_accepted_and_smaller_ones_are_not(bench):
    made = bench()
    for size, kind in ((64, "body"), (63, "refused")):
        peer = made.connect().send(CHUNKED)
        assert made.next().wait_body(fanout.CHUNKED, "state")
        peer.send(f"{size:x}\r\n{'x' * size}\r\n" * 100 + "0\r\n\r\n")
        task = made.next()
        assert task.kind == kind
        assert task.end(b"seen") and whole(peer) == b"seen"


def test_bytes_that_are_put_back_are_the_next_request(bench):
    made, following = bench(), "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
    peer = made.connect().send(CHUNKED + "0\r\n\r\n" + following)
    task = made.next()
    task.put_back(len(following))
    assert task.wait_sent(answer_of("first"), "state")
    assert peer.answer().body == b"first"
    task = made.next()
    assert (task.kind, task.state) == ("sent", "state")
    assert task.respond(answer_of("second"))
    assert peer.answer().body == b"second"
    task = made.next()
    if task.kind == "request":
        assert path_of(task.value) == "/next"
    else:  # the twin leaves all requests to workers
        assert task.value == following.encode()
    assert task.respond(answer_of("third")) and peer.answer().body == b"third"


def test_end_closes_and_unread_input_does_not_reset_the_response(bench):
    made = bench(max_body=10)
    peer = made.connect().send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
    task = made.next()
    peer.send(BIG[:400_000])
    assert task.end(b"too long")
    peer.send(BIG[:500_000])
    assert whole(peer) == b"too long"


def test_a_slow_reader_gets_every_byte_and_then_the_state_comes_back(bench):
    made, state = bench(), object()
    peer, task = made.asked()
    assert task.send(BIG[:1000]) and task.send(BIG[1000 : 5 << 20])
    received = bytearray(peer.sock.recv(1000))
    assert task.unsent > 0
    assert task.wait_sent(BIG[5 << 20 :], state)
    while len(received) < len(BIG) // 2:
        received += peer.sock.recv(5000)
    assert made.tasks.empty(), "the kernel cannot have accepted all"
    while len(received) < len(BIG):
        received += peer.sock.recv(1 << 20)
    task = made.next()
    assert (task.kind, task.state, task.unsent) == ("sent", state, 0)
    assert bytes(received) == BIG
    assert task.respond(answer_of("next")) and peer.answer().body == b"next"


def test_connected_and_unsent_notice_that_the_peer_has_gone(bench, eventually):
    made = bench()
    peer, task = made.asked()
    assert task.connected and task.unsent == 0
    reset(peer)
    eventually(lambda: not task.connected)
    eventually(lambda: task.send(b"x") and task.unsent == -1)
    assert made.io.connections == 0


def test_a_peer_that_ends_its_input_still_gets_its_response(bench, eventually):
    made = bench()
    peer, task = made.asked()
    peer.sock.shutdown(socket.SHUT_WR)
    eventually(lambda: not task.connected)
    assert task.respond(BIG)
    assert whole(peer) == BIG


def test_a_peer_that_goes_during_wait_sent_gives_the_state_back_once(bench, eventually):
    made, state = bench(), object()
    peer, task = made.asked()
    assert task.wait_sent(BIG, state)
    assert peer.exactly(1)
    reset(peer)
    gone = made.next()
    assert (gone.kind, gone.state, gone.unsent) == ("gone", state, -1)
    assert not gone.respond(b"x") and not gone.end(b"x") and not gone.wait_sent(b"x", state)
    eventually(lambda: made.io.connections == 0)
    made.stop()
    assert made.tasks.empty()


def test_detach_gives_a_descriptor_that_works(bench):
    made, state = bench(), object()
    peer, task = made.asked()
    assert task.detach(BIG, state)
    assert peer.exactly(len(BIG)) == BIG
    task = made.next()
    assert (task.kind, task.state, made.io.connections) == ("detached", state, 0)
    assert not task.respond(b"x"), "the task is over"
    with socket.socket(fileno=task.value) as sock:
        made.stop()
        sock.settimeout(DEADLINE)
        sock.sendall(b"ping")
        assert peer.exactly(4) == b"ping"
        peer.send("pong")
        assert sock.recv(10) == b"pong"


def test_a_task_that_is_dropped_closes_its_connection(bench, eventually):
    made = bench()
    peer, task = made.asked()
    assert task.send(b"part")
    del task
    assert whole(peer) == b"part"
    peer.close()
    eventually(lambda: made.io.connections == 0)


def test_a_task_that_another_thread_has_ended_is_over(bench):
    made = bench()
    peer, task = made.asked()
    finish(run(task.end, b"only this"))
    assert not task.send(b"x") and not task.respond(b"x") and not task.end(b"x")
    assert not task.wait_sent(b"x", 1) and not task.wait_body(9, 1) and not task.detach(b"", 1)
    assert whole(peer) == b"only this"


def test_end_unless_begun_does_nothing_after_a_part(bench):
    made = bench()
    peer, task = made.asked()
    assert task.send(b"part ")
    assert not task.end(b"failed", unless_begun=True)
    assert task.end(b"rest")
    assert whole(peer) == b"part rest"
    peer, task = made.asked()
    assert task.end(b"failed", unless_begun=True)
    assert whole(peer) == b"failed"


@pytest.mark.parametrize(
    "part", ["GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab"]
)
def test_a_late_request_comes_with_what_has_arrived_of_its_head(bench, part):
    made = bench(head=0.3, body=0.3)
    peer = made.connect().send(part)
    arrived = b""
    while (task := made.next()).kind == "input":
        arrived += task.value
        if arrived.endswith(b"ab"):
            task.put_back(2)
            assert task.wait_body(9, "state")
            arrived = arrived[:-2]
        else:
            assert task.wait_input("head", "state")
    assert (task.kind, arrived + task.value) == ("late", part.removesuffix("ab").encode())
    assert task.state == ("state" if arrived else None)
    assert task.waited >= 0.3
    assert task.end(b"late")
    assert whole(peer) == b"late"


def test_idle_connections_are_closed(bench, eventually):
    made = bench(answers(path_of), idle=0.3)
    new, used = made.connect(), made.connect()
    assert used.get().answer().body == b"/"
    assert whole(new) == whole(used) == b""
    eventually(lambda: made.io.connections == 0)


def test_a_connection_too_many_replaces_the_longest_idle_one(bench):
    made = bench(answers(path_of), max_connections=3)
    first, second, third = (made.connect() for _ in range(3))
    for peer in (second, first, third, second):
        assert peer.get().answer().body == b"/"
    more = made.connect()
    assert more.get().answer().body == b"/"
    assert whole(first) == b""
    for peer in (second, third, more):
        assert peer.get().answer().body == b"/"


def test_a_connection_whose_request_waits_to_be_read_is_not_idle(bench):
    made = bench(answers(path_of), max_connections=1, run=False)
    peers = [made.connect().get(f"/{number}") for number in range(20)]
    made.thread.start()
    for number, peer in enumerate(peers):
        assert peer.answer().body == b"/%d" % number


def test_a_connection_too_many_waits_while_none_is_idle(bench):
    made = bench(max_connections=1)
    peer, task = made.asked()
    other = made.connect().get()
    assert task.connected and made.tasks.empty()
    assert task.end(b"done")
    assert whole(peer) == b"done"
    assert made.next().end(b"also") and whole(other) == b"also"


def test_a_new_connection_has_a_second_for_its_first_request(bench):
    made = bench(answers(path_of), max_connections=1)
    first = made.connect()
    time.sleep(0.1)  # it is accepted
    others = [made.connect() for _ in range(4)]
    time.sleep(0.1)
    for peer in (first, *others):
        assert peer.get().answer().body == b"/"


def test_drain_accepts_more_than_the_limit(bench):
    made = bench(max_connections=1)
    peer, task = made.asked()
    others = [made.connect().get() for _ in range(3)]
    made.io.drain()
    made.listener.close()
    assert task.end(b"done") and whole(peer) == b"done"
    for _ in others:
        assert made.next().end(b"also")
    assert [whole(other) for other in others] == [b"also"] * 3


def test_drain_accepts_what_waits_serves_it_and_closes_what_is_idle(bench, eventually):
    made = bench(run=False)
    peers = [made.connect() for _ in range(20)]
    draining = run(made.io.drain)
    made.thread.start()
    finish(draining)
    made.listener.close()
    with pytest.raises(ConnectionRefusedError):
        made.connect()
    for peer in peers[:10]:
        peer.get()
    for task in [made.next() for _ in range(10)]:
        assert task.respond(answer_of("served"))
    assert [peer.answer().body for peer in peers[:10]] == [b"served"] * 10
    assert [whole(peer) for peer in peers] == [b""] * 20
    eventually(lambda: made.io.connections == 0)


def test_end_connections_is_told_to_every_task(bench):
    made = bench()
    _, task = made.asked()
    assert not task.last
    made.io.end_connections()
    assert task.last


def test_stop_gives_every_state_back_once(bench):
    """Of connections that wait for input, to send, for a worker, and of tasks that workers have."""
    returned, kinds, held, gate = Counter(), Counter(), threading.Semaphore(0), threading.Event()

    def perform(task):
        if task.state is None:
            made.tasks.put(task)
            return
        returned[task.state] += 1
        kinds[task.kind] += 1
        if task.kind == "sent":
            held.release()
            assert gate.wait(DEADLINE)
            assert not task.respond(b"x"), "the thread has stopped"

    made = bench(perform, workers=3)
    for n, (_, task) in enumerate([made.asked() for _ in range(30)]):
        wait = [task.wait_input, task.wait_sent, task.wait_sent][n % 3]
        assert wait(["head", BIG, b""][n % 3], n)
    for _ in made.workers:
        assert held.acquire(timeout=DEADLINE)
    made.io.stop()
    finish(made.thread)
    gate.set()
    made.stop()
    assert returned == dict.fromkeys(range(30), 1)
    assert kinds == {"sent": 3, "gone": 27} and made.io.connections == 0


@pytest.mark.parametrize("signals", [False, True])
def test_under_load_each_request_is_answered_once_or_its_connection_closed(
    bench, eventually, signals
):
    load, caught = Load(), []
    made = bench(load.perform, workers=8)
    signal.signal(signal.SIGALRM, lambda *_: caught.append(1))
    try:
        if signals:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        finish(*[run(load.client, made, seed) for seed in range(32)])
        eventually(lambda: made.io.connections == 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        # Valgrind may deliver one after this, so the default action is not restored.
        signal.signal(signal.SIGALRM, lambda *_: None)
    made.stop()
    assert len(load.answered) > 100 and bool(caught) == signals
    assert set(load.handled.values()) == {1} and load.answered <= load.handled
    assert not +load.states and not -load.states, "each state comes back once"


def test_no_deadline_of_requests_ends_a_long_response(bench, monkeypatch):
    monkeypatch.setattr(_fanout_io_py, "_TICK", 0.001)
    parts, cut, sizes = 8, [], []

    def perform(task):
        if task.kind in ("late", "gone") and task.state != parts:
            cut.append(task.kind)
        if task.value == CHUNKED.encode():
            task.wait_body(fanout.CHUNKED, parts, b"x")
        elif task.kind != "gone":
            left = parts if task.state is None else task.state
            task.wait_sent(BIG, left - 1) if left else task.end(b"y")

    def read(chunked):
        peer = made.connect()
        if chunked:
            assert peer.send(CHUNKED).exactly(1) == b"x"
        peer.send("0\r\n\r\n") if chunked else peer.get()
        sizes.append(sum(map(len, iter(lambda: peer.sock.recv(1 << 20), b""))))

    made = bench(perform, idle=1.0, body=0.3)
    finish(*[run(read, n % 2) for n in range(8)])
    assert cut == []
    assert sizes == [parts * len(BIG) + 1] * 8


def test_a_peer_that_reads_nothing_is_closed_while_parts_are_sent(bench, eventually):
    _, task = bench(write=0.3).asked()
    assert task.send(BIG)
    eventually(lambda: task.send(b"x") and task.unsent < 0)


def test_a_dropped_task_in_a_cycle_closes_its_connection(core):
    io_bench.alone(core, io_bench.drop_cycles)


def test_the_garbage_collector_may_free_tasks_at_any_time(core):
    io_bench.alone(core, io_bench.collect_often)


# The accepted socket is lost.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_twin_survives_a_failed_allocation(monkeypatch):
    failures = [MemoryError()]

    class Failing(_fanout_io_py.ClientState):
        def __init__(self, *args):
            if failures:
                raise failures.pop()
            super().__init__(*args)

    monkeypatch.setattr(_fanout_io_py, "ClientState", Failing)
    made = Bench(importlib.import_module("forge_min._fanout_py"), lambda task: task.end(b"done"))
    assert whole(made.connect()) == b""
    assert whole(made.connect().get()) == b"done"
    made.end()


def test_drain_after_stop_returns(core):
    io_bench.alone(core, io_bench.drain_after_stop)
