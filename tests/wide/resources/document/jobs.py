"""The jobs of Document. This file is yours: it was written once and is never touched again.

A worker is a class with a `kind` and `work(job)`. Returning completes the job, raising retries it;
raise jobs.Cancel, jobs.Snooze(seconds) or jobs.Discard to say otherwise.
"""

import logging

from forge_min import jobs

log = logging.getLogger(__name__)


class Notify:
    """Enqueued by after_create of Document. job.change: resource, id, operation, version, before."""

    kind = "Notify"

    def work(self, job: jobs.Job) -> None:
        """Do the work; it may run more than once, so make the second run harmless."""
        log.info("%s after the %s of %s", job.kind, job.change.operation, job.change.id)


class Index:
    """Enqueued by after_create of Document. job.change: resource, id, operation, version, before."""

    kind = "Index"

    def work(self, job: jobs.Job) -> None:
        """Do the work; it may run more than once, so make the second run harmless."""
        log.info("%s after the %s of %s", job.kind, job.change.operation, job.change.id)


# Every class that a hook names must stand here.
WORKERS = [Notify, Index]
# forge: scaffold fb7584ee0f64abc9
