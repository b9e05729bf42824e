"""The jobs of Course. Edit this file: forge-min does not write it again.

A worker is a class with `kind` and `work(job)`. If work() returns, the job is completed. If it
raises, the job is retried; raise jobs.Cancel, jobs.Snooze(seconds) or jobs.Discard to prevent this.
"""

from resources.document.jobs import Notify

# All worker classes of this file. Each kind that a hook names needs one.
WORKERS = [Notify]
# forge: scaffold e28431bd1e48fc91
