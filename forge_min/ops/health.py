"""What the admin server tells: alive, ready and the metrics, also while the application still
starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import __version__, fanout
from ..observe import Registry, render_metrics

if TYPE_CHECKING:
    from ..app import Running


class Health:
    """Asked by the admin threads. build: build-info.json of an artifact, or {}."""

    def __init__(self, build: Mapping[str, Any]) -> None:
        self._build = build
        self._running: Running | None = None
        self._draining = False

    def attach(self, running: Running) -> None:
        """The application has started."""
        self._running = running

    def drain(self) -> None:
        """The application is about to stop: not ready any more, still alive."""
        self._draining = True

    def alive(self) -> Mapping[str, Any]:
        """The body of /healthz."""
        return {
            "status": "ok",
            "version": self._build.get("version", __version__),
            "commit": self._build.get("commit", "unknown"),
            "built": self._build.get("date"),
            "impl": fanout.IMPL,
        }

    def ready(self) -> tuple[bool, Mapping[str, Any]]:
        """Whether requests should be sent here, and why not."""
        if self._draining:
            return False, {"server": "draining"}
        return self._running.ready() if self._running else (False, {"server": "starting"})

    def metrics(self) -> bytes:
        """The body of /metrics."""
        return render_metrics(self._running.metrics.registry if self._running else Registry())
