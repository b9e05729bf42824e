"""Where a project's sources come from: git, or the PKG-INFO of an unpacked source archive.

git is only asked, and says the same to every user: nothing that the repository's own settings name
is run, no settings of a user or a machine are read, and no variable of the environment leads it to
another repository.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path

from .errors import build_error

_HEAD = ("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
_GENERATED = ("gen", "dist")  # by a build, which proves gen/ to be of its sources
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM": "1",  # git looks in all folders above, as _repository
    "GIT_OPTIONAL_LOCKS": "0",  # the index stays as it is
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_REPLACE_OBJECTS": "1",  # a commit is what its name says
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
}
# SAFETY: git reads a repository of another user only where it is told to, because settings there
# may name programs: these are all that the questions below would run, with filters.
_SETTINGS = {
    "safe.directory": "*",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "log.showSignature": "false",
    "core.excludesFile": os.devnull,  # a user's own lists, which need no setting to be read
    "core.attributesFile": os.devnull,
    "core.trustctime": "true",
    "core.checkStat": "default",
}


def commit(root: Path, files: Iterable[str] = ()) -> str:
    """The commit's full name, "+changes" after it where the project differs, or "unknown": where no
    repository is, or one without any commit yet.

    files: names of what an artifact is made from, of which git must have each, ignored or not.
    Raises BuildError F353 for a repository that git does not read.
    """
    name = _git(root, *_HEAD)
    if not name:
        return "unknown"
    top = _git(root, "rev-parse", "--show-toplevel")
    if Path(top).resolve() != (_repository(root) or root):
        raise build_error("no_git", root=root, said=f"it tells of the one of {top}")
    known = set(files)
    made = [part for part in _GENERATED if not any(n.startswith(f"{part}/") for n in known)]
    excluded = (f":(exclude){part}" for part in made)
    untracked = ("--untracked-files=normal", "--ignore-submodules=none")
    asked = ("status", "--porcelain", *untracked, "--", ".", *excluded)
    # The repository's own filters are programs, which `git status` would run on files.
    named = ("config", "--includes", "-z", "--name-only", "--get-regexp", r"^filter\.")
    filters = dict.fromkeys(filter(None, _git(root, *named).split("\0")), "")
    if _run(root, *asked, settings=_SETTINGS | filters, check=True).stdout.strip():
        return f"{name}+changes"
    # "H": git watches the file for changes.
    listed = _run(root, "ls-files", "-v", "-z", "--recurse-submodules", "--", ".", check=True)
    tracked = {line[2:] for line in listed.stdout.split("\0") if line.startswith("H ")}
    return name if known <= tracked else f"{name}+changes"


def version(root: Path) -> str:
    """Of the last tag before the commit that is one ("v1.2.0" or "1.2.0"), else what PKG-INFO says
    (core metadata, PEP 566); "" without either. How far the sources are from it, `commit` tells.
    """
    asked = ("describe", "--tags", "--abbrev=0", "--match=v[0-9]*", "--match=[0-9]*")
    tag = shutil.which("git") and _git(root, *asked)  # development works without git
    if tag:
        return tag.removeprefix("v")
    try:
        told = HeaderParser().parsestr((root / "PKG-INFO").read_text("utf-8", "replace"))
    except OSError:
        return ""
    return str(told.get("Version", "")).strip()


def source_date(root: Path) -> str:
    """ISO 8601, UTC: SOURCE_DATE_EPOCH, else the commit's, else "unknown"; never the clock's.

    Raises BuildError F347, and F353 as `commit`.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH") or _git(root, "log", "-1", "--format=%ct")
    if not given:
        return "unknown"
    try:
        return datetime.fromtimestamp(int(given), UTC).isoformat()
    except (ValueError, OverflowError, OSError) as err:
        raise build_error("no_date", given=given) from err


def _git(root: Path, *arguments: str) -> str:
    """git's answer, or "" where there is no repository, or nothing to say.

    Raises BuildError F353 for a repository that git does not read.
    """
    if _repository(root) is None:
        return ""
    answer = _run(root, *arguments)
    if answer.returncode == 0:
        return answer.stdout.strip()
    commits = ("rev-list", "--max-count=1", "--all", "--reflog")
    if _run(root, *_HEAD).returncode and _run(root, *commits, check=True).stdout:
        raise build_error("no_git", root=root, said="HEAD leads to no commit, and others are there")
    return ""


def _repository(root: Path) -> Path | None:
    """The folder at or above `root` in which a `.git` lies, whole or not."""
    start = root.resolve()
    folders = (start, *start.parents)
    return next((folder for folder in folders if os.path.lexists(folder / ".git")), None)


def _run(
    root: Path, *arguments: str, settings: Mapping[str, str] = _SETTINGS, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """git's answer. check: raise BuildError F353 if it fails."""
    environment = {k: v for k, v in os.environ.items() if k[:4] != "GIT_" or k == "GIT_EXEC_PATH"}
    environment |= _ENVIRONMENT
    for number, (key, value) in enumerate(settings.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    environment["GIT_CONFIG_COUNT"] = str(len(settings))
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding=sys.getfilesystemencoding(),  # of the names of folders and files
            errors="surrogateescape",
            check=False,
        )
    except OSError as err:
        raise build_error("no_git_program", root=root) from err
    if check and answer.returncode:
        raise build_error("no_git", root=root, said=" ".join(answer.stderr.split()))
    return answer
