"""The threads of a worker: they fetch and run jobs, record results and send heartbeats."""

from .completer import record_results
from .job_thread import run_kind
from .worker import Worker

__all__ = ["Worker", "run_kind", "record_results"]
