"""Operating commands of an installed site: migrate, import, config. Called by entry and by
commands/.
"""

from typing import TYPE_CHECKING

from ..late import late
from .door import report, run, tell, warn
from .project import Project, load_config, load_project, with_database

if TYPE_CHECKING:
    from .auth import manage_accounts
    from .jobs import manage_jobs
    from .migrate import connect_owner, files_of, grant, migrate_down, migrate_up, migration_status
    from .processes import Child, ChildProcesses
    from .rows import AnyActions, Load, export_rows, import_file, opened
    from .serve import serve_site, work_jobs

__getattr__ = late(
    __name__,
    {
        "auth": ["manage_accounts"],
        "jobs": ["manage_jobs"],
        "migrate": [
            "connect_owner",
            "files_of",
            "grant",
            "migrate_down",
            "migrate_up",
            "migration_status",
        ],
        "processes": ["Child", "ChildProcesses"],
        "rows": ["AnyActions", "Load", "export_rows", "import_file", "opened"],
        "serve": ["serve_site", "work_jobs"],
    },
)

__all__ = [
    "AnyActions", "Child", "ChildProcesses", "Load", "Project", "connect_owner", "export_rows",
    "files_of", "grant", "import_file", "load_config", "load_project", "manage_accounts",
    "manage_jobs", "migrate_down", "migrate_up", "migration_status", "opened", "report", "run",
    "serve_site", "tell", "warn", "with_database", "work_jobs",
]  # fmt: skip
