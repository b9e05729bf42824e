"""`serve` in several processes: their parent, and the state that they send to the admin process."""

from .children import MARGIN, Child, ChildProcesses, Main, Supervisor
from .parent_channel import ADMIN, ParentChannel, socket_pairs
from .site_health import CounterMemory, SiteHealth

__all__ = [
    "ADMIN", "Child", "ChildProcesses", "CounterMemory", "MARGIN", "Main", "ParentChannel",
    "SiteHealth", "Supervisor", "socket_pairs",
]  # fmt: skip
