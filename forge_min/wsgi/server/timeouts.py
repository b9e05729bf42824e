"""The thread of the time-outs: closes late connections, and gives up handlers that do not return.

It is not a worker, because all workers may be busy.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

from .core import Core
from .exchange import LoggedRequest, logged_request

_log = logging.getLogger("forge_min.wsgi.server")
_TICK = 0.5  # seconds
MAX_GIVEN_UP = 64
"""Given-up workers that have not returned, up to which each one is replaced by a new worker."""


class TimeoutMonitor:
    """Enforces the deadlines of a Core.

    core: its connections and workers.
    limit: seconds that a handler may take; 0: unlimited.
    start_worker: starts one worker.
    """

    def __init__(self, core: Core, limit: float, start_worker: Callable[[], object]) -> None:
        self._core = core
        self._limit = limit
        self._start_worker = start_worker
        self._ended = threading.Event()

    def run(self) -> None:
        """Run the thread until `end`."""
        while not self._ended.wait(_TICK):
            try:
                self._core.sweep()
                if self._limit:
                    self._give_up_late(time.perf_counter() - self._limit)
            except Exception:
                _log.exception("the check of deadlines failed")

    def end(self) -> None:
        """Let the thread end."""
        self._ended.set()

    def _give_up_late(self, started_before: float) -> None:
        states = list(self._core.worker_states)
        for state in states:
            # SAFETY: read before `began`, which is newer for a newer exchange.
            exchange = state.exchange
            if exchange is None or state.given_up or state.began > started_before:
                continue
            environ = state.environ
            logged = logged_request(environ) if environ else exchange.logged
            if logged is None:
                continue  # it has returned between these lines
            self._log_stack(state.thread, logged)
            state.given_up = True
            reported = self._core.on_server_response is not None
            if exchange.cut_off(environ, reported=reported) and environ is not None:
                seconds = time.perf_counter() - state.began
                detail = f"the handler has taken longer than {self._limit:g} s"
                self._core.report(dict(environ), 500, detail, seconds)
            self._core.open.discard(exchange.conn)
            if sum(other.given_up for other in states) <= MAX_GIVEN_UP:
                self._start_worker()

    def _log_stack(self, thread: threading.Thread, logged: LoggedRequest) -> None:
        frame = sys._current_frames().get(thread.ident or 0)
        stack = "".join(traceback.format_stack(frame))
        message = "a handler has taken longer than %g s and is given up: %s %s request_id=%s\n%s"
        request, extra = logged
        _log.error(message, self._limit, *request, stack, extra=extra)
