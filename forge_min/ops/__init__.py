"""Operating commands of an installed site: migrate, import, config.

Called by entry and commands/. A command loads only the modules that it needs: the public modules
are not imported here.
"""

from .console import DONE, FAILED, print_error, print_result, run, warn
from .project import FOLDER, Project, inspect_project, load_config, load_project, with_database

__all__ = [
    "DONE", "FAILED", "FOLDER", "Project", "auth", "health", "inspect_project", "jobs",
    "load_config", "load_project", "migrate", "print_error", "print_result", "processes", "rows",
    "run", "serve", "warn", "with_database",
]  # fmt: skip
