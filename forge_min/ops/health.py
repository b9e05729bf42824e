"""The state that the admin server reports: liveness, readiness and metrics, from the start on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import __version__, fanout
from ..observe import MetricRegistry, scrape

if TYPE_CHECKING:
    from ..admin import inspection
    from ..app import Runtime
    from ..config import Config


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
        if self.running is None:
            return False, {"server": "starting"}
        return self.running.readiness()

    def jobs(self) -> Any:
        """Return the handler of /jobs; None before the application has started."""
        return self.running and self.running.jobs_pages

    def metrics(self, accept: str = "") -> tuple[str, bytes]:
        """Return content type and body of /metrics, in the format that `accept` prefers."""
        if self.running is None:
            return scrape(MetricRegistry(), accept)
        return scrape(self.running.metrics.registry, accept)
