"""The jobs of Flight."""

import logging

from forge_min.jobs import Job

log = logging.getLogger(__name__)


class NotifyGate:
    """Enqueued by after_update of Flight: tells the gate what has changed on its screen."""

    kind = "NotifyGate"

    def work(self, job: Job) -> None:
        """A log line stands for the gate's display; a real one would be called here."""
        log.info("gate told of flight %s, version %s", job.change.id, job.change.version)


# Every class that a hook names must stand here.
WORKERS = [NotifyGate]
