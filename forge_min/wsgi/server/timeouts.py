"""A thread beside the workers, who may all be busy: it ends what is past its deadline, and gives up
handlers that do not come back.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

from .core import Core
from .exchange import Where, request_of

_log = logging.getLogger("forge_min.wsgi.server")
_TICK = 0.5  # seconds
MOST = 64
"""Workers that were given up and have not come back, at most, in whose place others are hired."""


class Watch:
    """limit: seconds that a handler may take; 0: as long as it likes. hire: starts one worker."""

    def __init__(self, core: Core, limit: float, hire: Callable[[], object]) -> None:
        self._core = core
        self._limit = limit
        self._hire = hire
        self._ended = threading.Event()

    def run(self) -> None:
        """The life of the thread."""
        while not self._ended.wait(_TICK):
            try:
                self._core.sweep()
                if self._limit:
                    self._look(time.perf_counter() - self._limit)
            except Exception:
                _log.exception("looking after connections failed")

    def end(self) -> None:
        """Let the thread end."""
        self._ended.set()

    def _look(self, late: float) -> None:
        turns = list(self._core.turns)
        for turn in turns:
            exchange = turn.exchange  # SAFETY: before `began`, which is newer for a newer one
            if exchange is None or turn.given_up or turn.began > late:
                continue
            environ = turn.environ
            where = request_of(environ) if environ else exchange.where
            if where is None:
                continue  # it has come back between these lines
            self._tell(turn.thread, where)
            turn.given_up = True
            told = self._core.on_answered is not None
            if exchange.cut(environ, told=told) and environ is not None:
                seconds = time.perf_counter() - turn.began
                detail = f"the handler has taken longer than {self._limit:g} s"
                self._core.tell(dict(environ), 500, detail, seconds)
            self._core.open.discard(exchange.conn)
            if sum(other.given_up for other in turns) <= MOST:
                self._hire()

    def _tell(self, thread: threading.Thread, where: Where) -> None:
        frame = sys._current_frames().get(thread.ident or 0)
        _log.error(
            "a handler has taken longer than %g s and is given up: %s %s request_id=%s\n%s",
            self._limit, *where[:3], "".join(traceback.format_stack(frame)), extra=where.fields,
        )  # fmt: skip
