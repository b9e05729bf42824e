"""What the admin server tells: alive, ready and the metrics, also while the application still
starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import __version__, fanout
from ..observe import Registry, scrape

if TYPE_CHECKING:
    from ..app import Running


@dataclass
class Health:
    """Asked by the admin threads. build: build-info.json of an artifact, or {}. running: set when
    the application has started.
    """

    build: Mapping[str, Any]
    running: Running | None = None
    draining: bool = False

    def drain(self) -> None:
        """The application is about to stop: not ready any more, still alive."""
        self.draining = True

    def alive(self) -> Mapping[str, Any]:
        """The body of /healthz."""
        return {
            "status": "ok",
            "version": self.build.get("version", __version__),
            "commit": self.build.get("commit", "unknown"),
            "built": self.build.get("date"),
            "impl": fanout.IMPL,
        }

    def ready(self) -> tuple[bool, Mapping[str, Any]]:
        """Whether requests should be sent here, and why not."""
        if self.draining:
            return False, {"server": "draining"}
        return self.running.ready() if self.running else (False, {"server": "starting"})

    def jobs(self) -> Any:
        """The application of /jobs; None while there is none."""
        return self.running.jobs_pages if self.running else None

    def metrics(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and body of /metrics, for what a scrape's Accept says."""
        return scrape(self.running.metrics.registry if self.running else Registry(), accept)
