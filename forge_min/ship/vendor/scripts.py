"""Front-end files out of wheels: assets.scripts pins each by its SHA-256, static/ holds it.

Pages load nothing from elsewhere; a project commits these files, and a build compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from ..artifact.archive import replace
from ..artifact.distributions import find_installed, recorded_files
from ..failure import failure
from ..project import Project
from .gathering import one_from_index


def check_scripts(project: Project) -> None:
    """Raises BuildError F372 unless static/ holds each file that assets.scripts pins."""
    for name, row in project.scripts.items():
        path = project.root / "static" / name
        digest = sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        if digest != row["sha256"]:
            raise failure("other_script", name=name, digest=digest)


def fetch_scripts(project: Project, *, offline: bool) -> Iterator[tuple[str, Distribution]]:
    """Writes each into static/; gives its name, and the distribution that it was taken from.

    offline: from what is installed, else from the index. Raises BuildError F372 for a file with
    another hash, F341 for one that is not there, F370, F345.
    """
    for name, row in project.scripts.items():
        dist = _find(row["wheel"], offline=offline)
        member = PurePosixPath(row["member"])
        data = next(iter(recorded_files(dist, member.__eq__).values()), None)
        if data is None:
            raise failure("no_member", name=name, **row)
        digest = sha256(data).hexdigest()
        if digest != row["sha256"]:
            raise failure("other_member", name=name, digest=digest, **row)
        write = partial(Path.write_bytes, data=data)
        replace(project.root / "static" / name, write, "file_not_written")
        yield name, dist


def _find(pin: str, *, offline: bool) -> Distribution:
    if not offline:
        return one_from_index(pin).distribution()
    name, _, version = pin.partition("==")
    return find_installed(name, version)
