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
from .finding import Finding, State, join_names, new_finding, verdict
from .site import Site

NEWEST = (3, 14)  # version of Python that is tested
LOW, NONE = 256 << 20, 16 << 20  # free bytes
SPARE = 100  # files beside sockets: logs, modules, the artifact, static files
INFINITE = resource.RLIM_INFINITY


def check_artifact(site: Site) -> Iterator[Finding]:
    """Find altered, missing and unexpected members, and compiled parts of another artifact."""
    if site.artifact is None:
        yield new_finding("D201", "skipped", "this is a project's folder, not an artifact")
        return
    manifest, wrong = damage(site.artifact)
    extra = [name for name, what in wrong.items() if what == "added"]
    wrong = {name: what for name, what in wrong.items() if what != "added"}
    names = join_names(f"{name} ({what})" for name, what in sorted(wrong.items()))
    well = f"all {len(manifest.hashes)} are as they were built"
    yield verdict("D201", "failed", names and f"not as they were built: {names}", well)
    unknown = extra and f"not in the manifest: {join_names(extra)}"
    yield verdict("D202", "failed", unknown or "", "none")
    if site.native is not None and site.artifact.is_file():
        yield _unpacked(site.native.parent, manifest)


def _unpacked(folder: Path, manifest: Manifest) -> Finding:
    native = Manifest({n: h for n, h in manifest.hashes.items() if n.startswith("_native/")})
    present, unreadable = read_readable(folder)
    wrong = sorted({*native.differences(present), *unreadable})
    message = f"not the artifact's: {join_names(wrong)} in {folder}" if wrong else ""
    well = f"{len(native.hashes)} files in {folder}"
    return verdict("D203", "failed", message, well, folder=folder)


def check_python(site: Site) -> Iterator[Finding]:
    """Check that this version of Python is tested. On one that is too old, nothing runs."""
    version = f"{platform.python_implementation()} {platform.python_version()}"
    newer = sys.version_info[:2] > NEWEST
    wrong = f"{version} is newer than the tested versions" if newer else ""
    yield verdict("D101", "warning", wrong, version)


def check_disk(site: Site) -> Iterator[Finding]:
    """Check the folders that a site writes to, without writing."""
    folders = [site.native] if site.artifact and site.native else []
    if site.artifact is None and isinstance(site.root, Path):
        folders.append(site.root)
    folders.append(Path(os.environ.get("TMPDIR") or "/tmp"))
    for folder in folders:
        try:
            disk = os.statvfs(folder)
        except OSError as err:
            yield _unusable(folder, "failed", f"{folder}: {err.strerror}")
            continue
        files = disk.f_favail if disk.f_files else 1  # some file systems do not count files
        free, writable = disk.f_bavail * disk.f_frsize, os.access(folder, os.W_OK)
        yield check_free_space(folder, free, files, writable)


def check_free_space(folder: Path, free: int, files: int, writable: bool = True) -> Finding:
    """Return the finding for a folder.

    free: bytes.
    files: number of files that can still be created.
    """
    space = f"{free / (1 << 30):.1f} GiB free at {folder}"
    if not writable:
        return _unusable(folder, "warning", f"{folder} cannot be written to")
    if free < NONE or files < 1:
        message = space if free < NONE else f"no more files can be created at {folder}"
        return new_finding("D401", "failed", message, path=folder)
    return new_finding("D401", "warning" if free < LOW else "ok", space, path=folder)


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
