"""Background jobs in PostgreSQL: inserted with the row that causes them, run by threads.

The public module `control` is not imported here.
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports
from .args import pack
from .bulk import insert_many_tx
from .insert import (
    JobClient,
    JobHook,
    insert_span,
    insert_tx,
    job_cause,
    job_fragment,
    notify_workers,
)
from .job import Cancel, Cancelled, Change, Discard, Job, Result, Snooze, StaleClaim, error_result
from .kinds import Catalogue, Kind, kind_of, kinds_with_discarded
from .maintenance.cron import Cron, Interval
from .maintenance.loop import Retention
from .maintenance.periodic import (
    Periodic,
    check_periodic,
    insert_due,
    insert_now,
    register_periodic,
)
from .new_job import NewJob, Unique

if TYPE_CHECKING:
    from .worker import Worker, record_results, run_kind

__getattr__ = lazy_exports(__name__, {"worker": ["Worker", "record_results", "run_kind"]})


__all__ = [
    "Cancel", "Cancelled", "Catalogue", "Change", "Cron", "Discard", "Interval", "Job", "JobClient",
    "JobHook", "Kind", "NewJob", "Periodic", "Result", "Retention", "Snooze", "StaleClaim",
    "Unique", "Worker", "check_periodic", "control", "error_result", "insert_due", "insert_many_tx",
    "insert_now", "insert_span", "insert_tx", "job_cause", "job_fragment", "kind_of",
    "kinds_with_discarded", "notify_workers", "pack", "record_results", "register_periodic",
    "run_kind",
]  # fmt: skip
