"""The process that serves a project as its files are now: forked from a parent that has loaded all
of the framework and nothing of the project. The next one begins, and then this one ends.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..config import Config
from ..ops import (
    DONE,
    FAILED,
    Health,
    ParentChannel,
    Project,
    StopSignal,
    has_admin,
    print_error,
    serve_processes,
)
from ..wsgi import Server
from .overlay import Overlay, State, explanation
from .problems import Problem, problems_of

if TYPE_CHECKING:
    from ..app import Runtime

STARTED = b"1"  # what `ParentChannel.report_started` writes


class Doors(NamedTuple):
    """The sockets that every child listens on: connections wait in them for the next one."""

    site: socket.socket
    admin: socket.socket | None


class Line(ParentChannel):
    """A child's side of its parent. news: a pipe of states, which ends with the parent. told: the
    pipe that says that this process has started, or why it cannot.
    """

    def __init__(self, news: int, told: int, hear: Callable[[State], object]) -> None:
        super().__init__(news, told)
        self._hear = hear

    def failed(self, problems: Sequence[Problem]) -> bool:
        """Tell why it cannot start; whether somebody waits for that."""
        if waited_for := self._ready >= 0:
            os.write(self._ready, pickle.dumps(problems))
        return waited_for

    def _watch(self, ended: Callable[[], object]) -> None:
        with open(self._life, "rb") as states, suppress(EOFError):
            while True:
                self._hear(pickle.load(states))
        ended()


class Site(Project):
    """A project in development. secret: what is signed stays good over a reload."""

    def __init__(self, root: Path, config: Config, secret: bytes, overlay: Overlay) -> None:
        super().__init__(root, config)
        self._secret, self._overlay = config.auth.secret.encode() or secret, overlay

    def start(self, *, serving: bool) -> Runtime:
        """With the overlay around the application. Raises as `Project.start`."""
        running = super().start(serving=serving)
        self._overlay.app = running.application
        running.application = self._overlay  # type: ignore[assignment]  # it is only called
        return running


def live(
    root: Path, config: Config, secret: bytes, doors: Doors, state: State, news: int, told: int
) -> int:
    """Serve the project, and work its jobs; the exit code. Runs user code."""
    overlay = Overlay(explanation, root, state)
    line = Line(news, told, overlay.hear)
    admin = doors.admin if has_admin(config, worker=False) else None
    try:
        importlib.invalidate_caches()
        project = Site(root, config, secret, overlay)
        return serve_processes(
            project, processes=1, listener=doors.site, admin_listener=admin, channel=line
        )
    except KeyboardInterrupt:
        return DONE
    except BaseException as error:  # sys.exit() at the top of a module, too
        if not line.failed(problems_of(error, root)):
            print_error(error, sys.stderr, verbose=True)
        return FAILED


def explain(root: Path, config: Config, doors: Doors, state: State, news: int, told: int) -> int:
    """Answer with what is wrong while nothing can be served; the exit code."""
    overlay, ended = Overlay(explanation, root, state), StopSignal()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    address = (config.server.host, config.server.port)
    with Server(address, overlay, listener=doors.site) as server:
        server.start()
        line = Line(news, told, overlay.hear)
        line.start(Health({}), ended.set)
        line.report_started()
        ended.wait()
        server.stop(1.0)
    return DONE
