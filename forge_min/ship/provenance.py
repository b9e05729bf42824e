"""Commit, version and date of a project, from git or the PKG-INFO of an unpacked source archive.

Every user gets the same answers: git runs no program that a repository's settings name, reads no
settings of the user or machine, and ignores variables that name another repository.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path

from .errors import build_error, one_line
from .progress import run_program

_HEAD = ("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
_GENERATED = ("gen", "dist")  # written by a build, which checks gen/ against its sources
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM": "1",  # git looks in all folders above, as _repository
    "GIT_OPTIONAL_LOCKS": "0",  # the index stays as it is
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_REPLACE_OBJECTS": "1",  # a commit has the content that its hash names
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
}
# SAFETY: git does not read another user's repository unless it is safe.directory, because settings
# of the repository may name programs. These and the filters are all that our commands would run.
_SETTINGS = {
    "safe.directory": "*",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "log.showSignature": "false",
    "core.excludesFile": os.devnull,  # a user's own lists, which git reads without any setting
    "core.attributesFile": os.devnull,
    "core.trustctime": "true",
    "core.checkStat": "default",
}


def commit(root: Path, files: Iterable[str] = ()) -> str:
    """Return the commit's full name, followed by "+changes" if the project differs from it.

    Returns "unknown" without a repository, and before the first commit.

    files: names of the inputs of an artifact; each must be tracked, or the project differs.
    Raises BuildError F353 for a repository that git cannot read.
    """
    name = _git(root, *_HEAD)
    if not name:
        return "unknown"
    top = _git(root, "rev-parse", "--show-toplevel")
    if Path(top).resolve() != (_repository(root) or root):
        raise build_error("no_git", root=root, why=f"it reads the repository of {top}")
    known = set(files)
    # The repository's own filters are programs, which `git status` would run on files.
    query = ("config", "--includes", "-z", "--name-only", "--get-regexp", r"^filter\.")
    settings = dict(_SETTINGS)
    for key in _git(root, *query).split("\0"):
        if key:
            settings[key] = ""
    status = ["status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=none"]
    status += ["--", "."]
    for folder in _GENERATED:
        if not any(file.startswith(f"{folder}/") for file in known):
            status.append(f":(exclude){folder}")
    changes = _run(root, *status, settings=settings, check=True).stdout
    if changes.strip():
        return f"{name}+changes"
    listed = _run(root, "ls-files", "-v", "-z", "--recurse-submodules", "--", ".", check=True)
    tracked = set()
    for line in os.fsdecode(listed.stdout).split("\0"):
        if line.startswith("H "):  # git compares the file with the commit
            tracked.add(line[2:])
    if known <= tracked:
        return name
    return f"{name}+changes"


def version(root: Path) -> str:
    """Return the version of the last tag ("v1.2.0" or "1.2.0") before the commit.

    Without such a tag, returns the version of PKG-INFO (core metadata, PEP 566), else "".
    """
    if shutil.which("git"):  # development works without git
        describe = ("describe", "--tags", "--abbrev=0", "--match=v[0-9]*", "--match=[0-9]*")
        tag = _git(root, *describe)
        if tag:
            return tag.removeprefix("v")
    try:
        text = (root / "PKG-INFO").read_text("utf-8", "replace")
    except OSError:
        return ""
    metadata = HeaderParser().parsestr(text)
    return str(metadata.get("Version", "")).strip()


def source_date(root: Path) -> str:
    """Return the date of the sources in ISO 8601 and UTC, independent of the clock.

    It is SOURCE_DATE_EPOCH, else the date of the commit, else "unknown". Raises BuildError F200,
    and F353 as `commit`.
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH") or _git(root, "log", "-1", "--format=%ct")
    if not seconds:
        return "unknown"
    try:
        return datetime.fromtimestamp(int(seconds), UTC).isoformat()
    except (ValueError, OverflowError, OSError) as err:
        raise build_error("no_date", value=seconds) from err


def _git(root: Path, *arguments: str) -> str:
    """Return git's output; "" without a repository, or if the command fails.

    Raises BuildError F353 for a repository that git cannot read.
    """
    if _repository(root) is None:
        return ""
    result = _run(root, *arguments)
    if result.returncode == 0:
        return os.fsdecode(result.stdout).strip()  # with names of folders and files
    if _run(root, *_HEAD).returncode:
        commits = _run(root, "rev-list", "--max-count=1", "--all", "--reflog", check=True)
        if commits.stdout:
            why = "HEAD is not a commit, and there are commits"
            raise build_error("no_git", root=root, why=why)
    return ""


def _repository(root: Path) -> Path | None:
    """Return the first folder at or above `root` that contains a `.git`, even a broken one."""
    start = root.resolve()
    for folder in (start, *start.parents):
        if os.path.lexists(folder / ".git"):
            return folder
    return None


def _run(
    root: Path, *arguments: str, settings: Mapping[str, str] = _SETTINGS, check: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Run git, and return the result. check: raise BuildError F353 if it fails."""
    environment = dict(_ENVIRONMENT)
    for name, value in os.environ.items():
        if not name.startswith("GIT_") or name == "GIT_EXEC_PATH":
            environment.setdefault(name, value)
    for number, (key, value) in enumerate(settings.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    environment["GIT_CONFIG_COUNT"] = str(len(settings))
    command = ["git", "-C", str(root), *arguments]
    try:
        result = run_program(command, env=environment)
    except OSError as err:
        raise build_error("no_git_program", root=root) from err
    if check and result.returncode:
        raise build_error("no_git", root=root, why=one_line(result.stderr))
    return result
