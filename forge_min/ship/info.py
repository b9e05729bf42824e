"""The build info: what an artifact is, from which named inputs, for which Python and machine."""

from __future__ import annotations

import os
import platform
import subprocess
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution
from pathlib import Path

from .. import __version__
from ..data import files
from ..manifest import Manifest
from .failure import failure
from .project import Project


def build_info(
    project: Project,
    sources: Mapping[str, bytes],
    distributions: Iterable[Distribution],
    *,
    driver: str,
) -> dict[str, object]:
    """What is known of an artifact before its modules are compiled: all inputs by name. driver:
    psycopg's implementation, "binary" or "c". sources: the members so far.

    Raises BuildError F347 when SOURCE_DATE_EPOCH is no date.
    """
    core = any(name.startswith("_native/forge_min/_fanout") for name in sources)
    return {
        "name": project.name,
        "version": project.version,
        "commit": _commit(project.root),
        "date": source_date(project.root),
        "python": platform.python_version(),
        "suffix": EXTENSION_SUFFIXES[0],
        "machine": platform.machine(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "impl": "c" if core else "python",
        "driver": driver,
        "inputs": {"forge-min": __version__, **{d.name: d.version for d in distributions}},
        "sources": Manifest.of({**sources, **_builders()}).digest,
    }


def with_hashes(info: Mapping[str, object], members: Mapping[str, bytes]) -> dict[str, object]:
    """The value of build-info.json, once every member is there: all of them by one hash."""
    manifest = Manifest.of(members)
    native = sorted(name for name in members if name.startswith("_native/"))
    return {
        **info,
        "manifest": manifest.digest,
        "native": manifest.only(native).digest,
        "native_files": {name: len(members[name]) for name in native},
    }


def _builders() -> dict[str, bytes]:
    """What makes an artifact of the sources: this room."""
    here = Path(str(files(__package__)))
    found = sorted(here.rglob("*.py"))
    return {f"(ship)/{p.relative_to(here).as_posix()}": p.read_bytes() for p in found}


def _commit(root: Path) -> str:
    """The commit's full name, "+changes" after it where the project differs, or "unknown"."""
    commit = _git(root, "rev-parse", "HEAD")
    made = (":(exclude)gen", ":(exclude)dist")  # what a build itself writes
    changes = _git(root, "status", "--porcelain", "--", ".", *made)
    return f"{commit}+changes" if changes else commit or "unknown"


def source_date(root: Path) -> str:
    """ISO 8601, UTC: SOURCE_DATE_EPOCH, else the commit's, else "unknown"; never the clock's.

    Raises BuildError F347.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH") or _git(root, "log", "-1", "--format=%ct")
    if not given:
        return "unknown"
    try:
        return datetime.fromtimestamp(int(given), UTC).isoformat()
    except (ValueError, OverflowError, OSError) as err:
        raise failure("no_date", given=given) from err


def _git(root: Path, *arguments: str) -> str:
    """git's answer, or "" where there is no git, no repository, or one of another user's."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
