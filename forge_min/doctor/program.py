"""What Python this is."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

from .finding import Finding, found

OLDEST, NEWEST = (3, 11), (3, 14)


def check_python() -> Iterator[Finding]:
    """Whether this version is one of those that are tested."""
    version = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.version_info[:2] < OLDEST:
        yield found("D101", "failed", f"{version} is too old")
    elif sys.version_info[:2] > NEWEST:
        yield found("D101", "warning", f"{version} is newer than any that was tested")
    else:
        yield found("D101", "ok", version)
