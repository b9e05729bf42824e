"""Operating commands of an installed site: migrate, import, config. Called by entry and by
commands/.
"""

from .door import report, run
from .project import Project, load_project

__all__ = ["Project", "load_project", "report", "run"]
