"""Questions from the admin process to the serving processes.

The parent makes a pair of sockets for each serving process before it forks, and keeps both ends:
whatever process takes a slot's place later reads from the same one. Each question brings a pipe for
its answer, so a profile of a minute delays no other answer; the asker closes it to end a profile.
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

from ...admin import Told
from ...observe import Inspector, Question, Wait, snapshot
from ..health import Health

ADMIN = "admin"
STATE = Question("state")
"""Whether the process is ready, why not, and all its metrics."""
COUNTED = Question("counted")
"""The series of the plots; asks no database."""

PATIENCE = 2.0  # seconds to answer a question that needs no work
# The same for a process that did not answer the last time: longer than a database has to answer.
_BRIEF = 1.25
_LOOK = 0.1  # seconds between looks whether an answer is still wanted
_MESSAGE = 4096  # bytes of a question, at most


def socket_pairs(count: int) -> list[tuple[socket.socket, socket.socket]]:
    """For each slot the end of the admin process and the end of the serving process."""
    made = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(count)]
    for asking, _ in made:
        asking.setblocking(False)  # it is full when a process hangs
    return made


def answer_questions(questions: socket.socket, health: Health) -> None:
    """Answer until the process ends, each question on a thread `inspector`."""
    inspector = Inspector()
    while (received := socket.recv_fds(questions, _MESSAGE, 1))[1]:
        question: Question = pickle.loads(received[0])
        args = (health, inspector, question, Connection(received[1][0]))
        threading.Thread(target=_answer, args=args, name="inspector", daemon=True).start()


def _answer(health: Health, inspector: Inspector, question: Question, asker: Connection) -> None:
    with asker, suppress(OSError):  # nobody waits any more
        if question == STATE:
            running = health.running
            answer: Any = snapshot(running.metrics.registry) if running else []
            answer = (health.ready(), answer)
        elif question == COUNTED:
            answer = health.counted()
        else:
            answer = inspector.ask(question, asker.poll)
        asker.send((os.getpid(), answer))


class ParentChannel:
    """A child's side of its parent.

    life: a pipe that the parent alone can write to. ready: a pipe to say that the process has
    started. questions: where a serving process reads them; `health` answers.
    """

    def __init__(self, life: int, ready: int, questions: socket.socket | None = None) -> None:
        self._life, self._ready, self._questions = life, ready, questions

    def start(self, health: Health, ended: Callable[[], object]) -> None:
        """Begin to listen, on the threads `parent` and `answers`.

        ended: called when the parent is gone.
        """
        threading.Thread(target=self._watch, args=[ended], name="parent", daemon=True).start()
        if self._questions is not None:
            args = [self._questions, health]
            threading.Thread(
                target=answer_questions, args=args, name="answers", daemon=True
            ).start()

    def serving(self) -> None:
        """Tell the parent that this process has started. A second call does nothing."""
        ready, self._ready = self._ready, -1
        if ready >= 0:
            os.write(ready, b"1")
            os.close(ready)

    def _watch(self, ended: Callable[[], object]) -> None:
        os.read(self._life, 1)  # nobody writes: it ends with the parent
        ended()


class ChildInspector:
    """An `admin.ProcessInspector` of processes called "1" and so on; "admin" is this one.

    links: the asking end of each slot.
    """

    def __init__(self, links: Sequence[socket.socket]) -> None:
        self._links = {str(slot): link for slot, link in enumerate(links, 1)}
        self._inspector = Inspector()
        self._silent: frozenset[str] = frozenset()  # those that did not answer the last time

    def serving(self) -> Sequence[str]:
        """As of `admin.ProcessInspector`."""
        return list(self._links)

    def names(self) -> Sequence[str]:
        """As of `admin.ProcessInspector`."""
        return [*self._links, ADMIN]

    def ask(
        self, names: Sequence[str], question: Question, wait: Wait = lambda _: False
    ) -> Mapping[str, Told]:
        """As of `admin.ProcessInspector`. A process that hangs makes only the first asker wait."""
        if ADMIN in names:
            return {ADMIN: Told(os.getpid(), self._inspector.ask(question, wait))}
        with ExitStack() as stack:
            asked: dict[Connection, str] = {}
            for name in names:
                with suppress(OSError):
                    ours = stack.enter_context(_sent(self._links[name], question))
                    asked[ours] = name
            found = dict(_answers(asked, question, wait, self._silent))
        if not wait(0):
            self._silent = self._silent - found.keys() | (set(names) - found.keys())
        return {name: Told(*found[name]) for name in names if name in found}


def _sent(link: socket.socket, question: Question) -> Connection:
    """Send a question; the pipe of its answer. Raises OSError when too many wait already."""
    ours, theirs = Pipe()
    with theirs:
        try:
            socket.send_fds(link, [pickle.dumps(question)], [theirs.fileno()])
        except OSError:
            ours.close()
            raise
    return ours


def _answers(
    asked: Mapping[Connection, str], question: Question, stop: Wait, silent: frozenset[str]
) -> Iterator[tuple[str, Any]]:
    """(name, answer) of each process that answers in time, until `stop` returns true.

    A process that takes far longer than the first one may hang.
    """
    left = dict(asked)
    due = time.monotonic() + question.options.get("seconds", 0)
    until = due + (10 * PATIENCE if question.options else PATIENCE)
    while left and time.monotonic() < until and not stop(0):
        if time.monotonic() > due + _BRIEF and silent.issuperset(left.values()):
            return
        for link in wait(list(left), _LOOK):
            assert isinstance(link, Connection)
            name = left.pop(link)
            with suppress(OSError, EOFError, pickle.UnpicklingError):
                yield name, link.recv()
                now = time.monotonic()
                until = min(until, now + PATIENCE + 2 * max(now - due, 0.0))
