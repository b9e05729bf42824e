"""A guard for offline builds: the first attempt to reach a network is an error, not a promise.

It guards this process, whichever thread asks; what a child process does it cannot see.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from threading import Lock

from .failure import failure

# Of the table of audit events (PEP 578): to connect, to ask for a name, to send to an address.
_EVENTS = frozenset(
    ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo")
    + ("socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
)
_guards: list[object] = []  # one for each block that lasts, in any thread
_installed: list[str] = []
_lock = Lock()  # LOCK: that one hook is installed


@contextmanager
def no_network() -> Iterator[None]:
    """While it lasts, opening a connection, resolving a name or sending to an address is BuildError
    F346 (PEP 578), in every thread of the process. Blocks may lie in each other, and beside.
    """
    with _lock:
        if not _installed:  # an audit hook cannot be removed: one, that looks at the blocks
            sys.addaudithook(_refuse)
            _installed.append(__name__)
    _guards.append(None)
    try:
        yield
    finally:
        _guards.pop()


def _refuse(
    event: str,
    arguments: Sequence[object],
    events: Set[str] = _EVENTS,
    guards: Sequence[object] = _guards,
) -> None:
    # SAFETY: at the interpreter's end the module's names are gone, and hooks are still called.
    if event in events and guards and not (event == "socket.sendmsg" and arguments[1] is None):
        raise failure("network", event=event)
