"""Read-only checks of a site, which is passed in: nothing here reads a configuration.

`check_environment` needs neither psycopg nor the compiled core. `database.check_services` needs
both, and is not imported here, so that a broken installation is a finding, too.
"""

from __future__ import annotations

from functools import partial

from .configuration import check_admin, check_configuration, check_openness, check_secret
from .finding import Finding, State, codes, format_error, join_names, new_finding, verdict
from .machine import check_artifact, check_disk, check_files, check_python
from .report import GROUPS, DoctorReport
from .site import Profile, Site
from .time_limit import run_check

_CHECKS = {
    "D101": check_python,
    "D201": check_artifact,
    "D301": check_configuration,
    "D303": check_secret,
    "D304": check_admin,
    "D306": check_openness,
    "D401": check_disk,
    "D402": check_files,
}


def check_environment(site: Site) -> list[Finding]:
    """Run the checks that need no other part of the site."""
    results = []
    for code, check in _CHECKS.items():
        results += run_check(code, partial(check, site))
    return results


__all__ = [
    "DoctorReport", "Finding", "GROUPS", "Profile", "Site", "State", "check_environment",
    "codes", "database", "format_error", "join_names", "new_finding", "run_check", "verdict",
]  # fmt: skip
