"""The state that the admin server reports: liveness, readiness and metrics, from the start on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import __version__, fanout
from ..observe import MetricRegistry, Snapshot, scrape, snapshot

if TYPE_CHECKING:
    from ..admin import history, inspection
    from ..app import Runtime
    from ..config import Config

_JOBS_INTERVAL = 14.0  # seconds between two queries; the leader counts jobs every 15


def has_admin(config: Config, *, worker: bool) -> bool:
    """Return whether this process has an admin server.

    Only one process on a host can have the port: a worker beside `serve` has one only if admin.port
    is set.
    """
    enabled: bool = config.admin.enabled
    return enabled and not (worker and config.sources["admin.port"] == "default")


class Health:
    """The state of this process, read by the admin threads.

    build: build-info.json of an artifact, or {}.
    running: set when the application has started.
    """

    def __init__(self, build: Mapping[str, Any]) -> None:
        self.build = build
        self.running: Runtime | None = None
        self._jobs: history.JobCounts = None
        self._jobs_until = 0.0

    @cached_property
    def inspector(self) -> inspection.ProcessInspector:
        """The processes that can be profiled."""
        from ..admin import inspection

        return inspection.ProcessInspector()

    def alive(self) -> Mapping[str, Any]:
        """Return the members of /healthz beside its status."""
        return {
            "version": self.build.get("version", __version__),
            "commit": self.build.get("commit", "unknown"),
            "built": self.build.get("date"),
            "impl": fanout.IMPL,
        }

    def ready(self) -> tuple[bool, Mapping[str, Any]]:
        """Return whether requests should be sent to this process, and the reasons if not."""
        return self.running.readiness() if self.running else (False, {"server": "starting"})

    def jobs(self) -> Any:
        """Return the handler of /jobs; None before the application has started."""
        return self.running.jobs_pages if self.running else None

    def metrics(self, accept: str = "") -> tuple[str, bytes]:
        """Return content type and body of /metrics, in the format that `accept` prefers."""
        return scrape(self.running.metrics.registry if self.running else MetricRegistry(), accept)

    def counted(self) -> Snapshot:
        """Return the series of the plots of this process, without a query to the database."""
        from ..admin import history

        return snapshot(self.running.metrics.registry, history.SERIES) if self.running else []

    def figures(self) -> history.Figures:
        """Return the data of the plots, read on a thread with its own connection."""
        now = time.monotonic()
        if now >= self._jobs_until and self.running is not None and not self.running.draining:
            try:
                self._jobs = self.running.job_counts.result()
            except Exception:  # the database is away, which /readyz reports
                self._jobs = None
            self._jobs_until = now + _JOBS_INTERVAL
        return self.counted(), self._jobs
