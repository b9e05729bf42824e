"""What the admin server tells: alive, ready and the metrics, also while the application still
starts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import __version__, fanout
from ..observe import Registry, SingleFlight, Snapshot, scrape, snapshot

if TYPE_CHECKING:
    from ..admin import Figures, JobCounts, ProcessInspector
    from ..app import Runtime
    from ..config import Config

JOBS = "forge_jobs"
_PACE = 14.0  # seconds between questions to the database; the leader counts every 15


def has_admin(config: Config, *, worker: bool) -> bool:
    """Whether this process has an admin server. Beside `serve` on one host only one process can
    have the port: a worker must be told one.
    """
    enabled: bool = config.admin.enabled
    return enabled and not (worker and config.sources["admin.port"] == "default")


class Health:
    """Asked by the admin threads. build: build-info.json of an artifact, or {}. running: set when
    the application has started.
    """

    def __init__(self, build: Mapping[str, Any]) -> None:
        self.build = build
        self.running: Runtime | None = None
        self.draining = False
        self._readiness = SingleFlight(self._ready)
        self._jobs: JobCounts = None
        self._jobs_until = 0.0

    @cached_property
    def inspector(self) -> ProcessInspector:
        """The processes that profiles can be taken of."""
        from ..admin import LocalInspector

        return LocalInspector()

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
        if self.running is None:
            return False, {"server": "starting"}
        return self._readiness.result() or (False, {"database": "does not answer"})

    def _ready(self) -> tuple[bool, Mapping[str, Any]]:
        assert self.running is not None
        return self.running.ready()

    def jobs(self) -> Any:
        """The handler of /jobs; None while there is none."""
        return self.running.jobs_pages if self.running else None

    def metrics(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and body of /metrics, for what a scrape's Accept says."""
        return scrape(self.running.metrics.registry if self.running else Registry(), accept)

    def counted(self) -> Snapshot:
        """What the plots show of this process; asks no database."""
        from ..admin import SERIES

        return snapshot(self.running.metrics.registry, SERIES) if self.running else []

    def figures(self) -> Figures:
        """What the plots show, read on a thread with a connection of its own."""
        now = time.monotonic()
        if now >= self._jobs_until and self.running is not None and not self.draining:
            self._jobs, self._jobs_until = _jobs(self.running.metrics.registry), now + _PACE
        return self.counted(), self._jobs


def _jobs(registry: Registry) -> JobCounts:
    """The jobs there are; nothing while the database is away, which /readyz and the log tell of."""
    (count,) = [family.callback for family in registry.collect() if family.name == JOBS]
    try:
        found = count() if count is not None else None
    except Exception:
        return None
    return found if isinstance(found, Mapping) else None
