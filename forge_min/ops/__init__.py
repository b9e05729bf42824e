"""Operating commands of an installed site: migrate, import, config. Called by entry and by
commands/.
"""

from typing import TYPE_CHECKING

from ..late import late
from .door import report, run
from .project import Project, load_project

if TYPE_CHECKING:
    from .processes import Child, ChildProcesses

__getattr__ = late(
    __name__,
    {"Child": "processes.Child", "ChildProcesses": "processes.ChildProcesses"},
)

__all__ = ["Child", "ChildProcesses", "Project", "load_project", "report", "run"]
