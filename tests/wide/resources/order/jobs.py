"""The jobs of Order. Edit this file: forge-min does not write it again.

A worker is a class with `kind` and `work(job)`. If work() returns, the job is completed. If it
raises, the job is retried; raise jobs.Cancel, jobs.Snooze(seconds) or jobs.Discard to prevent this.
"""

import logging

from forge_min import jobs

from resources.document.jobs import Notify

log = logging.getLogger(__name__)


class Bill:
    """The job inserted after_create of Order.

    job.change: resource, id, operation, version, before.
    """

    kind = "Bill"

    def work(self, job: jobs.Job) -> None:
        """Do the work. A job may run more than once, so a second run must be harmless."""
        log.info("%s after the %s of %s", job.kind, job.change.operation, job.change.id)


class Reindex:
    """The job inserted after_update of Order.

    job.change: resource, id, operation, version, before.
    """

    kind = "Reindex"

    def work(self, job: jobs.Job) -> None:
        """Do the work. A job may run more than once, so a second run must be harmless."""
        log.info("%s after the %s of %s", job.kind, job.change.operation, job.change.id)


# All worker classes of this file. Each kind that a hook names needs one.
WORKERS = [Notify, Bill, Reindex]
# forge: scaffold ccf1803f6c78b698
