"""`serve` in several processes: the parent, and what the others tell the admin server."""

from .children import Child, ChildProcesses
from .parent_channel import ADMIN, ParentChannel, pairs
from .site_health import CounterMemory, HealthOfMany
from .supervisor import Supervisor

__all__ = [
    "ADMIN", "Child", "ChildProcesses", "CounterMemory", "HealthOfMany", "ParentChannel",
    "Supervisor", "pairs",
]  # fmt: skip
