"""The child processes that serve a project in development.

The parent has loaded the framework, but no code of the project. After a change it forks a new
child, and ends the old one once the new one serves.
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
from typing import NamedTuple

from ..app import Runtime
from ..config import Config
from ..ops import DONE, FAILED, Project, health, print_error, processes
from ..ops import serve as serving
from ..wsgi import Server
from .overlay import Overlay, State, explanation
from .problems import Problem, problems_of

STARTED = b"1"  # written by `ParentChannel.report_started`


class Listeners(NamedTuple):
    """The sockets of all children. Connections wait in them during a reload."""

    site: socket.socket
    admin: socket.socket | None


class StateChannel(processes.ParentChannel):
    """A child's connection to its parent.

    states: read end of a pipe of states; it ends with the parent.
    report_to: write end of the pipe that reports the start, or why it failed.
    on_state: called with each state.
    """

    def __init__(self, states: int, report_to: int, on_state: Callable[[State], object]) -> None:
        super().__init__(states, report_to)
        self._on_state = on_state

    def report_failure(self, problems: Sequence[Problem]) -> bool:
        """Report why the process cannot start. Returns False if it has already started."""
        return self._ready >= 0 and os.write(self._ready, pickle.dumps(problems)) > 0

    def _watch(self, ended: Callable[[], object]) -> None:
        with open(self._from_parent, "rb") as states, suppress(EOFError):
            while True:
                self._on_state(pickle.load(states))
        ended()


class DevelopmentProject(Project):
    """A project in development. secret: keeps signatures valid after a reload."""

    def __init__(self, root: Path, config: Config, secret: bytes, overlay: Overlay) -> None:
        super().__init__(root, config)
        self._secret = config.auth.secret.encode() or secret
        self._overlay = overlay

    def start(self, *, serving: bool) -> Runtime:
        """Start with the overlay around the application. Raises as `Project.start`."""
        runtime = super().start(serving=serving)
        self._overlay.app = runtime.application
        runtime.application = self._overlay  # type: ignore[assignment]  # it is only called
        return runtime


def serve(
    project: Project, secret: bytes, listeners: Listeners, state: State, states: int, report_to: int
) -> int:
    """Serve the project and run its jobs. Runs user code. Returns the exit code."""
    root = Path(str(project.root))
    overlay = Overlay(explanation, root, state)
    channel = StateChannel(states, report_to, overlay.update)
    admin = None
    if health.has_admin(project.config, worker=False):
        admin = listeners.admin
    try:
        importlib.invalidate_caches()
        return serving.serve_processes(
            DevelopmentProject(root, project.config, secret, overlay),
            processes=1,
            listener=listeners.site,
            admin_listener=admin,
            channel=channel,
        )
    except KeyboardInterrupt:
        return DONE
    except BaseException as error:  # includes sys.exit() at the top of a module
        if not channel.report_failure(problems_of(error, root)):
            print_error(error, sys.stderr, verbose=True)
        return FAILED


def explain(
    root: Path, config: Config, listeners: Listeners, state: State, states: int, report_to: int
) -> int:
    """Serve the errors of a project that cannot start. Returns the exit code."""
    overlay = Overlay(explanation, root, state)
    ended = serving.StopSignal()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    address = (config.server.host, config.server.port)
    with Server(address, overlay, listener=listeners.site) as server:
        server.start()
        channel = StateChannel(states, report_to, overlay.update)
        channel.start(health.Health({}), ended.set)
        channel.report_started()
        ended.wait()
        server.stop(1.0)
    return DONE
