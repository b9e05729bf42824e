"""Steps of long commands: measured, reported, without network access if required.

Also runs the programs that they need.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from .errors import build_error

Step = Callable[[str, float | None], None]
# Audit events (PEP 578) of opening connections, resolving names and sending to addresses.
_EVENTS = (
    "socket.connect",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
    "socket.getnameinfo",
)


@contextmanager
def timed(steps: dict[str, float], report: Step | None, name: str) -> Iterator[None]:
    """Write the duration of one step, in seconds, into `steps`.

    report: called with the step's name and None when it begins, and with its seconds when it ends.
    """
    report = report or (lambda name, seconds: None)
    report(name, None)
    start = time.perf_counter()
    yield
    steps[name] = round(time.perf_counter() - start, 4)
    report(name, steps[name])


@contextmanager
def no_network() -> Iterator[None]:
    """Raise BuildError F346 for any network access of this process inside the block.

    All threads are covered: opening a connection, resolving a name, sending to an address
    (PEP 578). Child processes are not. An audit hook cannot be removed, so it does nothing after
    the block.
    """
    active = [True]

    def refuse(event: str, arguments: Sequence[object]) -> None:
        # SAFETY: check `active` first: when the interpreter ends, globals of modules are deleted.
        if not active or event not in _EVENTS:
            return
        if event == "socket.sendmsg" and arguments[1] is None:
            return
        raise build_error("network", event=event)

    sys.addaudithook(refuse)
    try:
        yield
    finally:
        active.clear()


def run_program(
    command: Sequence[str],
    *,
    input: bytes = b"",
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program and return its result, whatever its status, with its output.

    input: for its standard input.
    cwd, env: its folder and environment, by default those of this process.
    Raises OSError if it cannot be started.
    """
    return subprocess.run(command, input=input, cwd=cwd, env=env, capture_output=True, check=False)
