"""Background jobs in PostgreSQL: inserted with the row that caused them, worked by threads, never
lost.
"""

from typing import TYPE_CHECKING

from ..late import late
from .bulk import insert_many_tx
from .insert import Client, JobHook, caused_by, insert_tx, job_fragment, produced, told
from .job import Cancel, Cancelled, Change, Discard, Job, Snooze, StaleClaim
from .keeping import Cron, Interval, Periodic, Retention, check_periodic, register_periodic
from .kinds import Catalogue, Kind, kind_of, told_of
from .new import NewJob, Unique

if TYPE_CHECKING:
    from .working import Worker

__getattr__ = late(__name__, {"working": ["Worker"]})

__all__ = [
    "Cancel", "Cancelled", "Catalogue", "Change", "Client", "Cron", "Discard", "Interval", "Job",
    "JobHook", "Kind", "NewJob", "Periodic", "Retention", "Snooze", "StaleClaim", "Unique",
    "Worker", "caused_by", "check_periodic", "insert_many_tx", "insert_tx", "job_fragment",
    "kind_of", "produced", "register_periodic", "told", "told_of",
]  # fmt: skip
