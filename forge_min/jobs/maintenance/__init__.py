"""Maintenance that one worker, the leader, does for all: schedules, rescue, retention, counts."""

from .cron import Cron, Interval
from .loop import Maintainer, Retention
from .periodic import Periodic, check_periodic
from .periodic import register as register_periodic

__all__ = [
    "Cron", "Interval", "Maintainer", "Periodic", "Retention", "check_periodic",
    "register_periodic",
]  # fmt: skip
