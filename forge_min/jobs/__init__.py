"""Background jobs in PostgreSQL: inserted with the row that caused them, worked by threads, never
lost.
"""

from .insert import Client, JobRef, caused_by, insert_many_tx, insert_tx, job_fragment
from .job import Cancel, Change, Discard, Job, NewJob, Snooze, StaleClaim
from .pool import Observer as WorkerObserver
from .worker import Worker

__all__ = [
    "Cancel", "Change", "Client", "Discard", "Job", "JobRef", "NewJob", "Snooze", "StaleClaim",
    "Worker", "WorkerObserver", "caused_by", "insert_many_tx", "insert_tx", "job_fragment",
]  # fmt: skip
