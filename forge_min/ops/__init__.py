"""Operating commands of an installed site: migrate, import, config.

Called by entry and commands/.
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports
from .console import DONE, FAILED, print_error, print_result, run, warn
from .project import FOLDER, Project, inspect_project, load_config, load_project, with_database

if TYPE_CHECKING:
    from . import migrate
    from .auth import manage_accounts
    from .health import Health, has_admin
    from .jobs import manage_jobs
    from .migrate import migrate_down, migrate_up, migration_status
    from .processes import Child, ChildProcesses, ParentChannel
    from .rows import AnyActions, FileImport, export_rows, import_file, open_actions
    from .serve import MARGIN, StopSignal, serve_processes, serve_site, work_jobs

__getattr__ = lazy_exports(
    __name__,
    {
        "auth": ["manage_accounts"],
        "health": ["Health", "has_admin"],
        "jobs": ["manage_jobs"],
        "migrate": ["migrate_down", "migrate_up", "migration_status"],
        "processes": ["Child", "ChildProcesses", "ParentChannel"],
        "rows": ["AnyActions", "FileImport", "export_rows", "import_file", "open_actions"],
        "serve": ["StopSignal", "MARGIN", "serve_processes", "serve_site", "work_jobs"],
    },
)


__all__ = [
    "AnyActions", "Child", "ChildProcesses", "DONE", "FAILED", "FOLDER", "FileImport", "Health",
    "MARGIN", "ParentChannel", "Project", "StopSignal", "export_rows", "has_admin", "import_file",
    "inspect_project", "load_config", "load_project", "manage_accounts", "manage_jobs", "migrate",
    "migrate_down", "migrate_up", "migration_status", "open_actions", "print_error", "print_result",
    "run", "serve_processes", "serve_site", "warn", "with_database", "work_jobs",
]  # fmt: skip
