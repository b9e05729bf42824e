"""The jobs of Flight."""

import logging

from forge_min.jobs import Job

log = logging.getLogger(__name__)


class NotifyGate:
    """Enqueued by after_update of Flight: shows the change at the gate."""

    kind = "NotifyGate"

    def work(self, job: Job) -> None:
        """Log the change; an airport would call its display here."""
        log.info("gate shows flight %s, version %s", job.change.id, job.change.version)


# The worker classes of this resource.
WORKERS = [NotifyGate]
