"""The machine: the artifact, Python, disk space, and the limit of open files."""

from __future__ import annotations

import os
import platform
import resource
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from ..manifest import Manifest, damage, read_readable
from .finding import Finding, State, labelled, new_finding, ok_unless, verdict
from .site import Site

NEWEST = (3, 14)  # version of Python that is tested
LOW = 256 << 20  # free bytes
NONE = 16 << 20
SPARE = 100  # files beside sockets: logs, modules, the artifact, static files
INFINITE = resource.RLIM_INFINITY


def check_artifact(site: Site) -> Iterator[Finding]:
    """Find altered, missing and unexpected members, and compiled parts of another artifact."""
    if site.artifact is None:
        yield new_finding("D201", "skipped", "this is a project's folder, not an artifact")
        return
    manifest, damages = damage(site.artifact)
    altered = []
    unexpected = []
    for name, kind in damages.items():
        if kind == "added":
            unexpected.append(name)
        else:
            altered.append(f"{name} ({kind})")
    well = f"all {len(manifest.hashes)} are as they were built"
    wrong = labelled("not as they were built", sorted(altered))
    yield verdict("D201", "failed", wrong, well)
    yield verdict("D202", "failed", labelled("not in the manifest", unexpected), "none")
    if site.native is not None and site.artifact.is_file():
        yield _unpacked(site.native.parent, manifest)


def _unpacked(folder: Path, manifest: Manifest) -> Finding:
    hashes = {name: h for name, h in manifest.hashes.items() if name.startswith("_native/")}
    present, unreadable = read_readable(folder)
    names = sorted({*Manifest(hashes).differences(present), *unreadable})
    wrong = labelled("not the artifact's", names)
    if wrong:
        wrong += f" in {folder}"
    well = f"{len(hashes)} files in {folder}"
    return verdict("D203", "failed", wrong, well, folder=folder)


def check_python(site: Site) -> Iterator[Finding]:
    """Check that this version of Python is tested. On one that is too old, nothing runs."""
    version = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.version_info[:2] > NEWEST:
        message = f"{version} is newer than the tested versions"
        yield new_finding("D101", "warning", message)
    else:
        yield new_finding("D101", "ok", version)


def check_disk(site: Site) -> Iterator[Finding]:
    """Check the folders that a site writes to, without writing."""
    folders = [Path(os.environ.get("TMPDIR") or "/tmp")]
    if site.artifact and site.native:
        folders.insert(0, site.native)
    if site.artifact is None and isinstance(site.root, Path):
        folders.insert(0, site.root)
    for folder in folders:
        try:
            disk = os.statvfs(folder)
        except OSError as err:
            yield _unusable(folder, "failed", f"{folder}: {err.strerror}")
            continue
        files = disk.f_favail if disk.f_files else 1  # some file systems do not count files
        free = disk.f_bavail * disk.f_frsize
        writable = os.access(folder, os.W_OK)
        yield check_free_space(folder, free, files, writable)


def check_free_space(folder: Path, free: int, files: int, writable: bool = True) -> Finding:
    """Return the finding for a folder.

    free: bytes.
    files: number of files that can still be created.
    """
    if not writable:
        return _unusable(folder, "warning", f"{folder} cannot be written to")
    space = f"{free / (1 << 30):.1f} GiB free at {folder}"
    if free < NONE:
        return new_finding("D401", "failed", space, path=folder)
    if files < 1:
        message = f"no more files can be created at {folder}"
        return new_finding("D401", "failed", message, path=folder)
    return new_finding("D401", ok_unless(free < LOW, "warning"), space, path=folder)


def _unusable(folder: Path, state: State, message: str) -> Finding:
    return new_finding("D401", state, message, next=f"ls -ld {shlex.quote(str(folder))}")


def check_files(site: Site) -> Iterator[Finding]:
    """Compare the limit of open files with the configured limits of connections."""
    yield enough_files(site, *resource.getrlimit(resource.RLIMIT_NOFILE))


def enough_files(site: Site, soft: int, hard: int) -> Finding:
    """Return the finding for the limits of open files of a process, soft and hard."""
    s = site.settings
    needed = s["sse.max_connections"] + s["server.threads"] + SPARE
    needed += 2 * s["server.max_connections"]  # a slow reader: its socket, and the file it reads
    message = f"a process may open {soft} files; the configured connections need {needed}"
    if soft == INFINITE or soft >= needed:
        return new_finding("D402", "ok", message)
    if INFINITE != hard < needed:
        message += f"; only the superuser may raise it above {hard}"
    return new_finding("D402", site.if_unusual, message, files=needed)
