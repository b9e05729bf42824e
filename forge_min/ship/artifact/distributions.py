"""Installed distributions as members of an artifact: which are needed, and their recorded files.

Reads metadata and files; imports none of them. Format: PyPA "Recording installed projects".
"""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable, Iterable
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution
from importlib.metadata import PackageNotFoundError as NotInstalled
from pathlib import PurePosixPath

from ...errors import BuildError
from ..failure import failure
from .markers import normalise, required_names

BASE = ("opentelemetry-api", "opentelemetry-sdk", "psycopg")
# psycopg's name of the implementation (PSYCOPG_IMPL) → the distribution that holds it.
DRIVERS = {"binary": "psycopg-binary", "c": "psycopg-c"}

# What installers write differs between machines; the rest is of no use at run time.
INSTALLERS_OWN = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})
_LEFT_OUT = INSTALLERS_OWN | {"py.typed"}
_LEFT_OUT_SUFFIXES = (".pyc", ".pyi", ".pyx", ".pxd", ".c", ".h")


def find_installed(name: str, version: str = "") -> Distribution:
    """Return the installed distribution. Raises BuildError F341 if the version differs, too."""
    wanted = f"{name}=={version}" if version else name
    try:
        found = Distribution.from_name(name)
    except NotInstalled:
        raise _missing(wanted, "is not installed") from None
    if version and found.version != version:
        raise _missing(wanted, f"is installed as {found.version}")
    return found


def collect(
    names: Iterable[str], find: Callable[[str], Distribution] = find_installed
) -> list[Distribution]:
    """These distributions and all that they require, sorted by name.

    find: where one of a normalised name comes from. Raises as it does, by default F341.
    """
    found: dict[str, Distribution] = {}
    wanted = [normalise(name) for name in names]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = find(name)
            wanted += required_names(found[name].requires or ())
    return [found[name] for name in sorted(found)]


def is_installed(name: str) -> bool:
    """Whether a distribution of this name is there."""
    try:
        Distribution.from_name(name)
    except NotInstalled:
        return False
    return True


def members(dist: Distribution) -> dict[str, bytes]:
    """Its files by name inside the artifact. One with a compiled part lies below `_native/`.

    Raises as `recorded_files`.
    """
    found = recorded_files(dist, _is_wanted)
    compiled = any(name.endswith(tuple(EXTENSION_SUFFIXES)) for name in found)
    prefix = "_native/" if compiled else ""
    return {prefix + name: data for name, data in found.items()}


def recorded_files(dist: Distribution, wanted: Callable[[PurePosixPath], bool]) -> dict[str, bytes]:
    """Its files by the names in its RECORD, without scripts, which lie outside: ../../bin/x.

    Raises BuildError: F341 when its files are not recorded, F342 when one differs from its record.
    """
    record = dist.read_text("RECORD")  # not dist.files: that leaves out what is missing
    if record is None:
        raise _missing(dist.name, "has no RECORD of its files")
    rows = [row for row in csv.reader(record.splitlines()) if len(row) == 3]
    return {
        name: _read(dist, name, recorded)
        for name, recorded, _ in rows
        if _is_inside(PurePosixPath(name)) and wanted(PurePosixPath(name))
    }


def record_hash(data: bytes) -> str:
    """As RECORD writes it."""
    return "sha256=" + base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()


def _is_inside(path: PurePosixPath) -> bool:
    return not path.is_absolute() and ".." not in path.parts


def _is_wanted(path: PurePosixPath) -> bool:
    return path.name not in _LEFT_OUT and not path.name.endswith(_LEFT_OUT_SUFFIXES)


def _read(dist: Distribution, name: str, recorded: str) -> bytes:
    try:
        data: bytes = dist.locate_file(name).read_bytes()  # type: ignore[attr-defined]
    except (OSError, KeyError) as err:  # KeyError: of a wheel
        raise _missing(dist.name, f"lacks its file {name}") from err
    if recorded.startswith("sha256=") and recorded != record_hash(data):
        raise failure("changed", file=name, name=dist.name)
    return data


def _missing(name: str, what: str) -> BuildError:
    extra = {"psycopg-binary": "forge-min[binary]", "psycopg-c": "forge-min[c]"}.get(name, name)
    return failure("no_distribution", name=name, what=what, extra=extra)
