"""Worker threads that run the application for the tasks of an I/O thread."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from wsgiref.types import WSGIApplication

from ...fanout import IoThread, Task
from ..contract import TRUSTED_PROXY, OnServerResponse, Parked
from ..http1 import ExpectedBody, Phase, ProtocolError, TrustedProxies, problem
from .exchange import (
    ClientDisconnected,
    Exchange,
    RequestReader,
    last_response,
    logged_request,
)

_log = logging.getLogger("forge_min.wsgi.server")
_UNREAD = {"REQUEST_METHOD": "-", "SERVER_PROTOCOL": "HTTP/1.1", "PATH_INFO": "-"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_GIVEN_UP = "a handler has taken longer than %g s and is given up: %s %s request_id=%s\n%s"


class CurrentWork:
    """The current work of one worker thread.

    thread: the worker.
    run: the exchange that it runs, its task, its environ (None while a body is resumed), and
        time.perf_counter() at its start; or None. Set as a whole: another thread reads it.
    given_up: whether another worker has replaced it.
    """

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.run: tuple[Exchange, Task, dict[str, Any] | None, float] | None = None
        self.given_up = False


class Dispatcher:
    """Reads requests that are not plain, runs the application, and responds to refused requests.

    io_thread: owns the connections.
    app: the application; may be replaced while running.
    max_body: bytes of a request's body.
    proxies: the peers that may set forwarding headers.
    """

    def __init__(
        self, io_thread: IoThread, app: WSGIApplication, max_body: int, proxies: TrustedProxies
    ) -> None:
        self._io_thread = io_thread
        self.app = app
        self.on_server_response: OnServerResponse | None = None
        self._max_body = max_body
        self._proxies = proxies
        self.current_work: set[CurrentWork] = set()  # LOCK: none, its operations are atomic
        # LOCK: none; the thread that pops a request resumes it. By task: until, environ.
        self._parked: dict[Task, tuple[float, dict[str, Any]]] = {}

    def work(self) -> None:
        """Run one worker thread until the server stops or the worker is given up."""
        state = CurrentWork()
        next_task = self._io_thread.worker().next_task
        process = os.getpid()
        self.current_work.add(state)
        try:
            while not state.given_up:
                try:
                    if not self._perform_next(next_task, state):
                        break
                except BaseException:  # SAFETY: without memory, its log fails, too
                    pass
                state.run = None
                if os.getpid() != process:
                    os._exit(1)  # a child process that the handler has forked: it has no server
        finally:
            self.current_work.discard(state)

    def _perform_next(self, next_task: Callable[[], Task | None], state: CurrentWork) -> bool:
        """Perform the next task, and end it if it has failed. Returns False after the last one."""
        task = None
        try:
            task = next_task()
            if task is None:
                return False
            self._perform(task, state)
        except BaseException:  # SAFETY: the worker survives any error
            if task is not None:
                task.end(b"")  # a lost task ends by itself, but it may be a part of a cycle
            _log.exception("a connection failed")
        return True

    def _perform(self, task: Task, state: CurrentWork) -> None:
        try:
            if task.kind == "request":
                # SAFETY: the environ refers to the exchange, and so to this task: not a cycle.
                environ = task.value
                task.value = None
                self._respond(task, environ, state)
            elif task.kind == "detached":
                task.state.hand_over(task.value)
            elif task.kind == "gone":
                if isinstance(task.state, Exchange):
                    task.state.abandon()
            elif isinstance(task.state, Exchange):
                state.run = (task.state, task, None, time.perf_counter())
                task.state.resume(task)
            elif isinstance(task.state, dict):  # the environ of a parked request
                self._respond(task, task.state, state)
            else:
                self._read(task, state)
        except ClientDisconnected:
            task.end(b"")

    def _read(self, task: Task, state: CurrentWork) -> None:
        """Read a request that is not plain, and run it if it is complete. Refuse a late one."""
        reader = task.state or RequestReader(task.base_environ, self._max_body)
        try:
            arrived = reader.receive(task)
        except ProtocolError as err:
            self._refuse(task, err)
            return
        if isinstance(arrived, Phase):
            task.wait_input(arrived.value, reader)
            return
        if reader.buffer:
            task.put_back(len(reader.buffer))
            reader.buffer.clear()
        if isinstance(arrived, ExpectedBody):
            interim = b""
            if arrived.expects:
                interim = _CONTINUE
            task.wait_body(arrived.length, reader, interim)
        else:
            self._respond(task, arrived, state)

    def _respond(self, task: Task, environ: dict[str, Any], state: CurrentWork) -> None:
        # PERF: most requests come directly (benchmarks/http, hello).
        if self._proxies.are_set or "HTTP_X_FORWARDED_FOR" in environ:
            self._proxies.apply(environ)
            if environ[TRUSTED_PROXY]:
                task.exempt_network()
        exchange = Exchange(task, environ)
        state.run = (exchange, task, environ, time.perf_counter())
        try:
            exchange.run(self.app, environ)
        except Parked as parked:
            environ["wsgi.input"].seek(0)
            self._parked[task] = (parked.until, environ)
            parked.wait(partial(self._resume, task))

    def _resume(self, task: Task) -> bool:
        """Let a worker run a parked request again; return False if it no longer waits."""
        parked = self._parked.pop(task, None)
        if parked is None:
            return False
        _, environ = parked
        return task.wait_sent(b"", environ)

    def stuck_workers(self) -> set[threading.Thread]:
        """Return the given-up workers that have not returned."""
        return {state.thread for state in list(self.current_work) if state.given_up}

    def join(self, workers: Sequence[threading.Thread], timeout: float) -> None:
        """Wait for the workers of a stopped I/O thread, and perform the remaining tasks."""
        until = time.monotonic() + timeout
        for worker in set(workers) - self.stuck_workers():
            worker.join(max(until - time.monotonic(), 0))
        self.work()

    def check(self, limit: float) -> None:
        """Resume parked requests and give up handlers that take too long. Called regularly.

        limit: seconds that a handler may take; 0: unlimited.
        """
        now = time.monotonic()
        for task, (until, _) in list(self._parked.items()):
            if now >= until:
                self._resume(task)
        error = self._io_thread.take_accept_error()
        if error:
            _log.warning("no connection can be accepted now: %s", os.strerror(error))
        if not limit:
            return
        for state in list(self.current_work):
            try:
                self._give_up_if_late(state, limit)
            except Exception:
                _log.exception("a handler could not be given up")

    def _give_up_if_late(self, state: CurrentWork, limit: float) -> None:
        run = state.run
        if run is None or state.given_up:
            return
        exchange, task, environ, began = run
        seconds = time.perf_counter() - began
        if seconds < limit:
            return
        logged = exchange.logged
        if environ is not None:
            logged = logged_request(environ)
        request, extra = logged
        frame = sys._current_frames().get(state.thread.ident or 0)
        stack = "".join(traceback.format_stack(frame))
        _log.error(_GIVEN_UP, limit, *request, stack, extra=extra)
        state.given_up = True
        is_reported = self.on_server_response is not None
        has_responded = exchange.cut_off(task, environ, reported=is_reported)
        if has_responded and environ is not None:
            detail = f"the handler has taken longer than {limit:g} s"
            self._report(dict(environ), 500, detail, seconds)

    # -- refused requests --------------------------------------------------------------------------

    def _refuse(self, task: Task, why: ProtocolError) -> None:
        """Respond to a protocol error; the connection ends."""
        environ = {**_UNREAD, **why.environ}
        app = problem(why.status, why.detail)
        task.end(last_response(app, environ))
        self._report(environ, why.status, why.detail, task.waited)

    def _report(self, environ: dict[str, Any], status: int, detail: str, seconds: float) -> None:
        """Report a response of the server itself to `on_server_response`."""
        if self.on_server_response is None:
            return
        try:
            self.on_server_response(environ, status, detail, seconds)
        except Exception:
            _log.exception("a response of the server itself could not be reported")
