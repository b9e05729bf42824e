"""What one client may take of the I/O thread: connections, memory, turns. Both twins."""

from __future__ import annotations

import threading

import pytest
from forge_min import fanout

from wsgi import io_bench
from wsgi.conftest import DEADLINE
from wsgi.io_bench import answer_of, answers, reads, reset, whole
from wsgi.test_io_thread import CHUNKED, bench, core, path_of

__all__ = ["bench", "core"]  # fixtures
OTHER = "127.0.0.2"
THIRD = "127.0.0.3"


def test_each_client_address_has_a_task_in_its_turn(bench, eventually):
    entered, gate, turns = threading.Event(), threading.Event(), []

    def perform(task):
        turns.append(task.base_environ["REMOTE_ADDR"])
        entered.set()
        assert gate.wait(DEADLINE)
        task.end(answer_of("seen"))

    made = bench(perform)
    many = [made.connect().get() for _ in range(20)]
    assert entered.wait(DEADLINE)
    others = [made.connect(OTHER).get() for _ in range(2)]
    last = made.connect(THIRD)
    eventually(lambda: made.io.connections == 23)
    last.close()
    # The thread reads in the order of arrival: once it has closed the last one, the tasks wait.
    eventually(lambda: made.io.connections == 22)
    gate.set()
    for peer in (*others, *many):
        assert peer.answer().body == b"seen"
    assert turns.index(OTHER) <= 2 and turns[:6].count(OTHER) == 2


def test_a_network_over_its_limit_loses_its_longest_idle_connection(bench):
    made = bench(answers(path_of), max_per_network=3)
    other = made.connect(OTHER)
    peers = [made.connect() for _ in range(3)]
    for peer in (other, *peers):
        assert peer.get().answer().body == b"/"
    more = made.connect()
    assert more.get("/more").answer().body == b"/more"
    assert whole(peers[0]) == b""
    for peer in (other, *peers[1:], more):
        assert peer.get().answer().body == b"/"


def test_a_network_over_its_limit_gets_no_further_connection_while_all_are_busy(bench):
    made = bench(max_per_network=2)
    tasks = [made.asked() for _ in range(2)]
    assert whole(made.connect()) == b""
    other, task = made.connect(OTHER).get(), made.next()
    for peer, each in (*tasks, (other, task)):
        assert each.end(b"done") and whole(peer) == b"done"


def test_a_trusted_proxy_has_no_limit_of_connections(bench):
    def exempt(environ, task, rest):
        task.exempt_network()
        rest(task, answer_of("seen"))

    made = bench(io_bench.reads(exempt), max_per_network=2)
    peers = []
    for _ in range(9):
        peers.append(made.connect())
        assert peers[-1].get().answer().body == b"seen"
    for peer in peers:
        assert peer.get().answer().body == b"seen"


def test_a_full_server_closes_a_connection_of_the_largest_network(bench):
    made = bench(answers(path_of), max_connections=4)
    single = made.connect(OTHER)
    many = [made.connect() for _ in range(3)]
    for peer in (single, *many):
        assert peer.get().answer().body == b"/"
    assert made.connect(THIRD).get().answer().body == b"/"
    assert whole(many[0]) == b""
    assert single.get().answer().body == b"/"


def test_unfinished_bodies_hold_little_memory_and_a_small_client_is_served(core):
    io_bench.alone(core, io_bench.hold_bodies)


def test_bodies_that_together_exceed_the_budget_are_served_one_after_the_other(bench):
    """Each has more than its share: if all waited, all would be late."""
    made = bench(
        reads(lambda environ, task, rest: task.respond(answer_of("read"))), max_pending=1 << 18
    )
    peers = [made.connect() for _ in range(9)]
    for peer in peers:
        peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n")
    for part in (100_000, 200_000):
        for peer in peers:
            peer.send("x" * part)
    for peer in peers:
        assert peer.answer().body == b"read"


def test_a_head_in_single_bytes_is_late_even_if_the_next_byte_is_always_there(bench):
    made = bench(head=0.6)
    peer = made.connect().send("GET / HTTP/1.1\r\nHost: a\r\nX: " + "x" * 8200)
    while (task := made.next()).kind != "late":
        peer.send("x")
        assert task.wait_input("head", "state")
    assert task.end(b"late")


@pytest.mark.parametrize("core", ["_fanout"], indirect=True)  # the twin notices it when it sends
def test_what_a_reset_connection_has_left_is_not_served(bench, eventually):
    entered, gate, kinds = threading.Event(), threading.Event(), []

    def perform(task):
        kinds.append(task.kind)
        entered.set()
        assert gate.wait(DEADLINE)

    made = bench(perform)
    made.connect().get()
    assert entered.wait(DEADLINE)
    left = made.connect().get("/left")
    eventually(lambda: made.io.connections == 2)
    reset(left)
    eventually(lambda: made.io.connections == 1)
    gate.set()
    made.stop()
    assert kinds in (["request"], ["request", "gone"])


def test_a_body_of_a_closed_connection_ends_with_it(bench, eventually):
    made = bench()
    peer = made.connect().send(CHUNKED)
    assert made.next().wait_body(fanout.CHUNKED, "state")
    peer.send("5\r\nhel")
    peer.close()
    task = made.next()
    assert (task.kind, task.state) == ("gone", "state")
    eventually(lambda: made.io.connections == 0)
