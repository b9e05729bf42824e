"""The jobs of Item. This file is yours: it was written once and is never touched again.

A worker is a class with a `kind` and `work(job)`. Returning completes the job, raising retries it;
raise jobs.Cancel, jobs.Snooze(seconds) or jobs.Discard to say otherwise.
"""

import logging

from forge_min import jobs

log = logging.getLogger(__name__)


class ItemCreated:
    """Enqueued by after_create of Item. job.change: resource, id, operation, version, before."""

    kind = "ItemCreated"

    def work(self, job: jobs.Job) -> None:
        """Do the work; it may run more than once, so make the second run harmless."""
        log.info("%s %s after the %s of %s", job.kind, job.given, job.change.operation, job.change.id)


# Every class that a hook names must stand here.
WORKERS = [ItemCreated]
# forge: scaffold 57a9d4679d604324
