"""While a build is offline nothing in its process reaches for a network, in whichever thread."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from forge_min.errors import BuildError
from forge_min.ship.progress import no_network


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """Where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


def connect(address: tuple[str, int]) -> None:
    socket.create_connection(address).close()


def send(address: tuple[str, int]) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", address)


def send_parts(address: tuple[str, int]) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendmsg([b"x"], [], 0, address)


ATTEMPTS: list[Callable[[tuple[str, int]], object]] = [
    connect,
    send,
    send_parts,
    lambda address: socket.getaddrinfo(*address),
    lambda address: socket.gethostbyname(address[0]),
    lambda address: socket.gethostbyaddr(address[0]),
    lambda address: socket.getnameinfo(address, socket.NI_NUMERICHOST),
]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_every_way_to_a_network_is_an_error_until_the_block_ends(
    address: tuple[str, int], attempt: Callable[[tuple[str, int]], object]
) -> None:
    with no_network(), pytest.raises(BuildError) as caught:
        attempt(address)
    assert caught.value.code == "F346"
    attempt(address)


@pytest.mark.parametrize("attempt", [connect, send])
def test_a_thread_that_was_there_before_and_a_new_one_are_guarded_too(
    address: tuple[str, int], attempt: Callable[[tuple[str, int]], object]
) -> None:
    with ThreadPoolExecutor(1) as older, ThreadPoolExecutor(1) as newer:
        older.submit(int).result(10)
        with no_network():
            for pool in (older, newer):
                with pytest.raises(BuildError):
                    pool.submit(attempt, address).result(10)
        older.submit(attempt, address).result(10)


def test_a_block_in_a_block_ends_with_the_outer_one(address: tuple[str, int]) -> None:
    with no_network():
        with no_network():
            pass
        with pytest.raises(BuildError):
            connect(address)
    connect(address)


def test_blocks_of_two_threads_end_each_for_itself(address: tuple[str, int]) -> None:
    entered, leave = Event(), Event()

    def guard() -> None:
        with no_network():
            entered.set()
            assert leave.wait(10)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(guard)
        assert entered.wait(10)
        with no_network():
            pass
        with pytest.raises(BuildError):
            connect(address)
        leave.set()
        done.result(10)
    connect(address)


def test_what_is_connected_already_may_speak() -> None:
    left, right = socket.socketpair()
    with left, right, no_network():
        left.sendmsg([b"x"])
        left.sendall(b"y")
        assert right.recv(2, socket.MSG_WAITALL) == b"xy"
