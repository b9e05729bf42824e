"""The steps of long work: each is timed and reported, and may be kept from the network."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .errors import build_error

Step = Callable[[str, float | None], None]
# Of the table of audit events (PEP 578): to connect, to ask for a name, to send to an address.
_EVENTS = frozenset(
    ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo")
    + ("socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
)


@contextmanager
def timed(steps: dict[str, float], report: Step | None, name: str) -> Iterator[None]:
    """Times one step into `steps`.

    report: called with the step's name and None first, and with its seconds at its end.
    """
    report = report or (lambda name, seconds: None)
    report(name, None)
    start = time.perf_counter()
    yield
    steps[name] = time.perf_counter() - start
    report(name, steps[name])


@contextmanager
def no_network() -> Iterator[None]:
    """While it lasts, reaching for a network is BuildError F346, in every thread of this process.

    That is opening a connection, resolving a name and sending to an address (PEP 578). What a child
    process does is not seen. An audit hook cannot be removed: after the block it does nothing.
    """
    active = [True]

    def refuse(event: str, arguments: Sequence[object]) -> None:
        # SAFETY: `active` first: at the interpreter's end the module's names are gone.
        if active and event in _EVENTS and not (event == "socket.sendmsg" and arguments[1] is None):
            raise build_error("network", event=event)

    sys.addaudithook(refuse)
    try:
        yield
    finally:
        active.clear()
