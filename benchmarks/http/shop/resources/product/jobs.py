"""The jobs of Product. This file is yours: it was written once and is never touched again.

A worker is a class with a `kind` and `work(job)`. Returning completes the job, raising retries it;
raise forge_min.jobs.Cancel, Snooze(seconds) or Discard to say otherwise.
"""

import logging

from forge_min.jobs import Job

log = logging.getLogger(__name__)


class Announce:
    """Enqueued by after_create of Product. job.args: resource, id, operation, version, before."""

    kind = "Announce"

    def work(self, job: Job) -> None:
        """Do the work; it may run more than once, so make the second run harmless."""
        log.info("%s for %s %s", job.kind, job.args["resource"], job.args["id"])


# Every class that a hook names must stand here.
WORKERS = [Announce]
