"""Where a project's sources come from: git, or the PKG-INFO of an unpacked source archive."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path

from .failure import failure


def commit(root: Path) -> str:
    """The commit's full name, "+changes" after it where the project differs, or "unknown"."""
    name = _git(root, "rev-parse", "HEAD")
    made = (":(exclude)gen", ":(exclude)dist")  # what a build itself writes
    changes = _git(root, "status", "--porcelain", "--", ".", *made)
    return f"{name}+changes" if changes else name or "unknown"


def version(root: Path) -> str:
    """Of the last tag before the commit that is one ("v1.2.0" or "1.2.0"), else what PKG-INFO says
    (core metadata, PEP 566); "" without either. How far the sources are from it, `commit` tells.
    """
    tag = _git(root, "describe", "--tags", "--abbrev=0", "--match=v[0-9]*", "--match=[0-9]*")
    if tag:
        return tag.removeprefix("v")
    try:
        told = HeaderParser().parsestr((root / "PKG-INFO").read_text("utf-8", "replace"))
    except OSError:
        return ""
    return str(told.get("Version", "")).strip()


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
