"""Where a project's sources come from: git, or the PKG-INFO of an unpacked source archive.

git is only asked, and says the same to every user: nothing that the repository's own settings name
is run, and no variable of the environment leads it to another repository.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path

from .failure import failure

_KEPT = {"GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_EXEC_PATH"}
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",  # the index stays as it is
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}
# SAFETY: git reads a repository of another user only where it is told to, because settings there
# may name programs: these are all that the questions below would run, with filters.
_SETTINGS = {
    "safe.directory": "*",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "log.showSignature": "false",
}


def commit(root: Path) -> str:
    """The commit's full name, "+changes" after it where the project differs, or "unknown".

    Raises BuildError F353 for a repository that git does not read.
    """
    name = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if not name:
        return "unknown"
    made = (":(exclude)gen", ":(exclude)dist")  # what a build itself writes
    asked = ("status", "--porcelain", "--untracked-files=normal", "--", ".", *made)
    answer = _run(root, *asked, settings=dict.fromkeys(_filters(root), ""))
    if answer is None or answer.returncode != 0:
        raise failure("no_git", root=root, said=_said(answer))
    return f"{name}+changes" if answer.stdout.strip() else name


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


def _filters(root: Path) -> list[str]:
    """The settings of the repository's own filters, which `git status` would run on files."""
    asked = ("config", "--includes", "--show-scope", "-z", "--name-only", "--get-regexp")
    words = iter(_git(root, *asked, r"^filter\.").split("\0"))
    return [
        name for scope, name in zip(words, words, strict=False) if scope not in ("global", "system")
    ]


def _git(root: Path, *arguments: str) -> str:
    """git's answer, or "" where there is no git, no repository, or nothing to say.

    Raises BuildError F353 for a repository that git does not read.
    """
    answer = _run(root, *arguments)
    if answer is None:
        return ""
    if answer.returncode == 0:
        return answer.stdout.strip()
    there = _run(root, "rev-parse", "--git-dir")
    if there and there.returncode != 0 and "not a git repository" not in there.stderr:
        raise failure("no_git", root=root, said=_said(there))
    return ""


def _run(
    root: Path, *arguments: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str] | None:
    environment = {k: v for k, v in os.environ.items() if k[:4] != "GIT_" or k in _KEPT}
    environment |= _ENVIRONMENT
    told = _SETTINGS | dict(settings or {})
    for number, (key, value) in enumerate(told.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    environment["GIT_CONFIG_COUNT"] = str(len(told))
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError:
        return None


def _said(answer: subprocess.CompletedProcess[str] | None) -> str:
    return " ".join(answer.stderr.split()) if answer else "it is not there any more"
