"""Background jobs in PostgreSQL: inserted with the row that caused them, worked by threads, never
lost.
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports
from .args import pack
from .bulk import insert_many_tx
from .insert import Client, JobHook, caused_by, insert_tx, job_fragment, produced, told
from .job import Cancel, Cancelled, Change, Discard, Job, Result, Snooze, StaleClaim, judge
from .kinds import Catalogue, Kind, kind_of, told_of
from .maintenance import Cron, Interval, Periodic, Retention, check_periodic, register_periodic
from .maintenance.periodic import insert_due
from .new import NewJob, Unique

if TYPE_CHECKING:
    from . import control
    from .worker import Worker, run_kind, write_down

__getattr__ = lazy_exports(
    __name__,
    {"worker": ["Worker", "run_kind", "write_down"]},
)


__all__ = [
    "Cancel", "Cancelled", "Catalogue", "Change", "Client", "Cron", "Discard", "Interval", "Job",
    "JobHook", "Kind", "NewJob", "Periodic", "Result", "Retention", "Snooze", "StaleClaim",
    "Unique", "Worker", "caused_by", "check_periodic", "control", "insert_due", "insert_many_tx",
    "insert_tx", "job_fragment", "judge", "kind_of", "pack", "produced", "register_periodic",
    "run_kind", "told", "told_of", "write_down",
]  # fmt: skip
