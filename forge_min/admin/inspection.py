"""The sources of the admin server: the site's health, and the inspection of its processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ..observe import Inspection, Inspector, Wait
from ..wsgi import Handler


class Reply(NamedTuple):
    """The reply of a process. result: the return value of `Inspector.inspect`."""

    pid: int
    result: Any


Replies = Mapping[str, Reply]
"""Replies by the name of the process."""


class ProcessInspector:
    """The processes that `AdminServer` can inspect: this one, named "1"."""

    def __init__(self) -> None:
        self._inspector = Inspector()

    def names(self) -> Sequence[str]:
        """Return the serving processes, then others that can be selected by name."""
        return ("1",)

    def serving(self) -> Sequence[str]:
        """Return the processes that serve requests, the default selection."""
        return ("1",)

    def inspect(self, names: Sequence[str], inspection: Inspection, wait: Wait) -> Replies:
        """Inspect processes concurrently, and return the replies by name.

        A process that does not reply is missing. wait: as in `Inspector.inspect`; ends the waiting.
        """
        return {
            name: Reply(os.getpid(), self._inspector.inspect(inspection, wait)) for name in names
        }


class HealthSource(Protocol):
    """The values that the admin server shows.

    It is called on the threads `admin-N`; `inspector` is also read when the AdminServer is built.
    """

    @property
    def inspector(self) -> ProcessInspector:
        """The processes for profiles and traces."""

    def alive(self) -> Mapping[str, object]:
        """Return the members of /healthz beside its status."""

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Return whether this process can serve, and the reasons of its faults."""

    def metrics(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body of /metrics for an Accept header."""

    def jobs(self) -> Handler | None:
        """Return the handler of the jobs page; None until the application has started."""
