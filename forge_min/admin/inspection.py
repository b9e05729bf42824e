"""What the admin server asks: the site's health, and the processes whose inside it can show."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ..observe import Inspection, Inspector, Wait
from ..wsgi import Handler
from .history import Figures


class Reply(NamedTuple):
    """A process's answer. answer: as of `Inspector.ask`."""

    pid: int
    answer: Any


class ProcessInspector(Protocol):
    """What `AdminServer` asks."""

    def names(self) -> Sequence[str]:
        """The processes that answer requests, then others that can be asked for by name."""

    def serving(self) -> Sequence[str]:
        """Those of them that are meant where none is named."""

    def ask(self, names: Sequence[str], question: Inspection, wait: Wait) -> Mapping[str, Reply]:
        """The answers of these, by name, all asked at once; who does not answer is not there.

        wait: as of `Inspector.ask`: ends the waiting for them. Raises HTTPProblem 503 when
        too many wait already.
        """


class LocalInspector:
    """This process, called 1."""

    def __init__(self) -> None:
        self._inspector = Inspector()

    def names(self) -> Sequence[str]:
        """As of `ProcessInspector`."""
        return self.serving()

    def serving(self) -> Sequence[str]:
        """As of `ProcessInspector`."""
        return ("1",)

    def ask(self, names: Sequence[str], question: Inspection, wait: Wait) -> Mapping[str, Reply]:
        """As of `ProcessInspector`."""
        return {name: Reply(os.getpid(), self._inspector.ask(question, wait)) for name in names}


class HealthSource(Protocol):
    """What the admin server shows.

    `figures` is called on the thread `admin-history`, the others on the threads `admin-N`.
    """

    @property
    def inspector(self) -> ProcessInspector:
        """The processes that profiles and traces are of."""

    def alive(self) -> Mapping[str, object]:
        """What /healthz adds to its status."""

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Whether this process can serve, and why not."""

    def metrics(self, accept: str) -> tuple[str, bytes]:
        """Content type and body of /metrics for an Accept header."""

    def jobs(self) -> Handler | None:
        """The handler of the jobs page; None until the application has started."""

    def figures(self) -> Figures:
        """What the plots show, read every 2 s."""
