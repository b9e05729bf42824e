"""What a site runs on: the artifact, Python, room where we write, and the limit of open files."""

from __future__ import annotations

import os
import platform
import resource
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from ..manifest import Manifest, damage, read_readable
from .finding import Finding, State, join_names, new_finding, skipped, verdict
from .site import Site

OLDEST, NEWEST = (3, 11), (3, 14)  # versions of Python that are tested
LOW, NONE = 256 << 20, 16 << 20  # bytes that are free
SPARE = 100  # files beside sockets: logs, modules, the artifact, what is read and sent
INFINITE = resource.RLIM_INFINITY


def check_artifact(site: Site) -> Iterator[Finding]:
    """Altered, missing and unexpected members; compiled parts that are not the artifact's."""
    if site.artifact is None:
        yield skipped("D201", "this is a project's folder, no artifact")
        return
    manifest, wrong = damage(site.artifact)
    extra = [name for name, what in wrong.items() if what == "added"]
    wrong = {name: what for name, what in wrong.items() if what != "added"}
    names = join_names(f"{name} ({what})" for name, what in sorted(wrong.items()))
    well = f"all {len(manifest.hashes)} are as they were built"
    yield verdict("D201", "failed", names and f"not as they were built: {names}", well)
    unknown = extra and f"the manifest does not know {join_names(extra)}"
    yield verdict("D202", "failed", unknown or "", "there are none")
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
    """Whether this version is one of those that are tested."""
    version = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.version_info[:2] < OLDEST:
        yield new_finding("D101", "failed", f"{version} is too old")
    elif sys.version_info[:2] > NEWEST:
        yield new_finding("D101", "warning", f"{version} is newer than any that was tested")
    else:
        yield new_finding("D101", "ok", version)


def check_disk(site: Site) -> Iterator[Finding]:
    """The folders that a site writes to. Nothing is written: the right to is asked for."""
    places = [site.native] if site.artifact and site.native else []
    if site.artifact is None and isinstance(site.root, Path):
        places.append(site.root)
    places.append(Path(os.environ.get("TMPDIR") or "/tmp"))
    for place in places:
        try:
            seen = os.statvfs(place)
        except OSError as err:
            yield _unusable(place, "failed", f"{place}: {err.strerror}")
            continue
        files = seen.f_favail if seen.f_files else 1  # some file systems count none
        yield check_free_space(
            place, seen.f_bavail * seen.f_frsize, files, os.access(place, os.W_OK)
        )


def check_free_space(place: Path, free: int, files: int, writable: bool = True) -> Finding:
    """free: bytes. files: that can still be made."""
    space = f"{free / (1 << 30):.1f} GiB free at {place}"
    if not writable:
        return _unusable(place, "warning", f"{place} cannot be written to")
    if free < NONE or files < 1:
        message = space if free < NONE else f"no more files can be made at {place}"
        return new_finding("D401", "failed", message, path=place)
    return new_finding("D401", "warning" if free < LOW else "ok", space, path=place)


def _unusable(place: Path, state: State, message: str) -> Finding:
    return new_finding("D401", state, message, next=f"ls -ld {shlex.quote(str(place))}")


def check_files(site: Site) -> Iterator[Finding]:
    """The limit of open files against what the caps let in."""
    yield enough_files(site, *resource.getrlimit(resource.RLIMIT_NOFILE))


def enough_files(site: Site, soft: int, hard: int) -> Finding:
    """soft, hard: limits of open files of a process."""
    s = site.settings
    needed = s["server.max_connections"] + s["sse.max_connections"] + s["server.threads"] + SPARE
    message = f"a process may open {soft}; connections and streams at their caps need {needed}"
    if soft == INFINITE or soft >= needed:
        return new_finding("D402", "ok", message)
    if INFINITE != hard < needed:
        message += f"; beyond {hard} the superuser must allow it"
    return new_finding("D402", site.if_unusual, message, files=needed)
