"""Questions from the admin process to the others. Each comes with a pipe for its answer, so that a
profile of a minute keeps no other answer waiting; who asks no more closes it, which ends a profile.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

from ...admin import Inside, Told
from ...observe import Snapshot
from ...observe.profiles import Inspector, Question, Wait
from ...wsgi import HTTPProblem
from ..health import Health

ADMIN = "admin"
COUNTED = Question("counted")
"""What the plots show; answered at once."""

PATIENCE = 2.0  # seconds that an answer may take which needs no work
_AT_ONCE = ("threads", "spans")  # what is answered as it lies there
_MOST = 2  # who may wait for such answers: each holds one of the admin server's few threads
_LOOK = 0.1  # seconds between looks whether an answer is still wanted
_ENDED = (OSError, EOFError, pickle.UnpicklingError)


def sent(link: Connection, question: Question) -> Connection:
    """Ask over a link; where the answer comes. Raises OSError where nobody is at its other end."""
    ours, theirs = Pipe()
    try:
        link.send(question)
        send_handle(link, theirs.fileno(), 0)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours


def received(link: Connection) -> Connection:
    """Where the answer goes of the question that was just received over the link."""
    return Connection(recv_handle(link))


def answer(health: Health, question: Question, asker: Connection) -> None:
    """Answer it; what may take its time on a thread of its own, `inspector`."""
    if question == COUNTED:
        _give(asker, health.counted)
        return
    found = partial(_of_this_process, health.inside, question, asker.poll)
    threading.Thread(target=_give, args=[asker, found], name="inspector", daemon=True).start()


def _of_this_process(inside: Inside, question: Question, wait: Wait) -> Any:
    (told,) = inside.ask(inside.serving(), question, wait).values()
    return told.answer


def _give(asker: Connection, found: Callable[[], Any]) -> None:
    with asker, suppress(OSError):  # who asked has gone
        asker.send((os.getpid(), found()))


class ManyProcesses:
    """As of `admin.Inside`. send: asks the process of a slot, None where there is none now.

    They are called 1 and so on; "admin" is this one.
    """

    def __init__(self, send: Callable[[int, Question], Connection | None], count: int) -> None:
        self._send, self._count = send, count
        self._inspector = Inspector()
        self._places = threading.Semaphore(_MOST)
        self._waiting: dict[int, Connection] = {}  # slots that owe what the plots show

    def serving(self) -> Sequence[str]:
        """As of `admin.Inside`."""
        return [str(slot + 1) for slot in range(self._count)]

    def names(self) -> Sequence[str]:
        """As of `admin.Inside`."""
        return [*self.serving(), ADMIN]

    def ask(self, names: Sequence[str], question: Question, wait: Wait) -> Mapping[str, Told]:
        """As of `admin.Inside`. Raises HTTPProblem 503 while others wait for an answer
        that a process should have had ready: it may hang.
        """
        if ADMIN in names:
            return {ADMIN: Told(os.getpid(), self._inspector.ask(question, wait))}
        with ExitStack() as stack:
            seconds, patience = question.options.get("seconds", 0), 10 * PATIENCE
            if question.what in _AT_ONCE:
                stack.enter_context(self._place())
                patience = PATIENCE
            asked = {}
            for name in names:
                link = self._send(int(name) - 1, question)
                if link is not None:
                    asked[name] = stack.enter_context(link)
            found = dict(_answers(asked, patience, wait, seconds))
        return {name: Told(*found[name]) for name in names if name in found}

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            message = "others are waiting for an answer of these processes"
            raise HTTPProblem(503, message, headers=[("Retry-After", "1")])
        try:
            yield
        finally:
            self._places.release()

    def counted(self) -> list[Snapshot]:
        """What the plots show of each that answers. Who owes an answer is not asked again. For one
        thread.
        """
        for slot in range(self._count):
            if slot not in self._waiting:
                link = self._send(slot, COUNTED)
                if link is not None:
                    self._waiting[slot] = link
        answers = dict(_answers(self._waiting, PATIENCE, lambda _: False))
        for slot in [s for s, link in self._waiting.items() if s in answers or _has_ended(link)]:
            self._waiting.pop(slot).close()
        return [taken for _, taken in answers.values()]


def _answers(
    asked: Mapping[Any, Connection], patience: float, stop: Wait, seconds: float = 0.0
) -> Iterator[Any]:
    """(key, answer) of each that answers in time, while `stop` does not say otherwise. seconds:
    that an answer takes in any case. Who takes far longer beyond them than the first may hang.
    """
    left = {link: key for key, link in asked.items()}
    due = time.monotonic() + seconds
    until = due + patience
    while left and time.monotonic() < until and not stop(0):
        for link in wait(list(left), _LOOK):
            assert isinstance(link, Connection)
            key = left.pop(link)
            with suppress(*_ENDED):
                yield key, link.recv()
                now = time.monotonic()
                until = min(until, now + PATIENCE + 2 * max(now - due, 0.0))


def _has_ended(link: Connection) -> bool:
    """After `_answers`: what can still be read then is only its end."""
    try:
        return link.poll()
    except OSError:
        return True
