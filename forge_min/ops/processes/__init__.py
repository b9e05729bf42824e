"""`serve` in several processes: the parent, and what the others tell the admin server."""

from .inheritance import Inheritance
from .link import HealthOfMany, Link
from .supervisor import Supervisor, fork

__all__ = ["HealthOfMany", "Inheritance", "Link", "Supervisor", "fork"]
