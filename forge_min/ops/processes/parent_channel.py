"""Requests of the admin process to the serving processes.

The parent makes a pair of sockets for each serving process before it forks, and keeps both ends, so
that a process that is started later reads from the socket of the one that it replaces. Each request
carries a pipe for its response: a profile that takes a minute delays no other response, and the
admin process closes the pipe to end a profile.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from ...admin import inspection
from ...observe import Inspection, Inspector, Wait, snapshot
from ..health import Health

ADMIN = "admin"
STATE = Inspection("state")
"""Whether the process is ready, the reasons if it is not, and all its metrics."""

PATIENCE = 2.0  # seconds to wait for a response that needs no work
_POLL_INTERVAL = 0.1  # seconds between two checks whether the response is still wanted
_MESSAGE = 4096  # maximum bytes of a request


def socket_pairs(count: int) -> list[tuple[socket.socket, socket.socket]]:
    """Return, for each slot, the end of the admin process and the end of the serving process."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(count)]
    for admin_end, _ in pairs:
        admin_end.setblocking(False)  # its buffer is full when a process hangs
    return pairs


def serve_requests(requests: socket.socket, health: Health) -> None:
    """Respond to requests until the process ends, each on a thread `inspector`."""
    inspector = Inspector()
    message, descriptors, _, _ = socket.recv_fds(requests, _MESSAGE, 1)
    while descriptors:
        question: Inspection = pickle.loads(message)
        args = (health, inspector, question, Connection(descriptors[0]))
        threading.Thread(target=_respond, args=args, name="inspector", daemon=True).start()
        message, descriptors, _, _ = socket.recv_fds(requests, _MESSAGE, 1)


def _respond(health: Health, inspector: Inspector, question: Inspection, reply: Connection) -> None:
    with reply, suppress(OSError):  # the admin process no longer waits
        if question == STATE:
            running = health.running
            metrics = snapshot(running.metrics.registry) if running else []
            answer = (health.ready(), metrics)
        else:
            answer = inspector.inspect(question, reply.poll)
        reply.send((os.getpid(), answer))


class ParentChannel:
    """A child's connection to its parent.

    from_parent: a pipe that only the parent can write to, so that it ends with the parent.
    ready: a pipe to report that the process has started.
    requests: the socket from which a serving process reads requests.
    """

    def __init__(self, from_parent: int, ready: int, requests: socket.socket | None = None) -> None:
        self._from_parent = from_parent
        self._ready = ready
        self._requests = requests

    def start(self, health: Health, ended: Callable[[], object]) -> None:
        """Start the threads `parent`, and `answers` if there are requests to serve.

        health: responds to the requests.
        ended: called when the parent has ended.
        """
        threading.Thread(target=self._watch, args=[ended], name="parent", daemon=True).start()
        if self._requests is not None:
            args = [self._requests, health]
            threading.Thread(target=serve_requests, args=args, name="answers", daemon=True).start()

    def report_started(self) -> None:
        """Report to the parent that this process has started. A second call does nothing."""
        ready = self._ready
        if ready >= 0:
            self._ready = -1
            os.write(ready, b"1")
            os.close(ready)

    def _watch(self, ended: Callable[[], object]) -> None:
        os.read(self._from_parent, 1)  # no data is ever written: it returns when the parent ends
        ended()


class ChildInspector(inspection.ProcessInspector):
    """The inspector of the serving processes "1", "2", and so on.

    "admin" is this process itself. sockets: the admin process's end of each slot.
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        super().__init__()
        self._sockets = {str(slot): socket for slot, socket in enumerate(sockets, 1)}

    def serving(self) -> Sequence[str]:
        """Return the names of the serving processes."""
        return list(self._sockets)

    def names(self) -> Sequence[str]:
        """Return the names of all processes."""
        return [*self._sockets, ADMIN]

    def inspect(
        self, names: Sequence[str], question: Inspection, wait: Wait = lambda _: False
    ) -> inspection.Replies:
        """Send a request to processes and return their responses by name."""
        if ADMIN in names:
            return super().inspect(names, question, wait)
        with ExitStack() as stack:
            pending = {}
            for name in names:
                with suppress(OSError):  # too many requests wait already
                    reader, writer = Pipe()
                    stack.enter_context(reader)
                    with writer:
                        message = [pickle.dumps(question)]
                        socket.send_fds(self._sockets[name], message, [writer.fileno()])
                    pending[reader] = name
            results = dict(_receive(pending, question, wait))
        return {name: inspection.Reply(*results[name]) for name in names if name in results}


def _receive(
    pending: Mapping[Connection, str], question: Inspection, stop: Wait
) -> Iterator[tuple[str, Any]]:
    """Yield (name, response) of each process that responds in time, until `stop` returns true.

    A process that takes far longer than the first one may hang.
    """
    waiting = dict(pending)
    due = time.monotonic() + question.options.get("seconds", 0)
    until = due + PATIENCE
    if question.options:
        until = due + 10 * PATIENCE
    while waiting and time.monotonic() < until and not stop(0):
        for reply in wait(list(waiting), _POLL_INTERVAL):
            assert isinstance(reply, Connection)
            name = waiting.pop(reply)
            with suppress(OSError, EOFError, pickle.UnpicklingError):
                yield name, reply.recv()
                now = time.monotonic()
                delay = max(now - due, 0.0)
                until = min(until, now + PATIENCE + 2 * delay)
