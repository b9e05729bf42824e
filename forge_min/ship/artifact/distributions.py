"""Installed distributions as members of an artifact: which are needed, and their recorded files.

Reads metadata and files; imports none of them. Format: PyPA "Recording installed projects".
"""

from __future__ import annotations

import base64
import csv
from collections.abc import Iterable
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution
from importlib.metadata import PackageNotFoundError as NotInstalled
from pathlib import Path, PurePosixPath

from ...errors import BuildError
from ..failure import failure
from .markers import normalise, required_names

BASE = ("opentelemetry-api", "opentelemetry-sdk", "psycopg")
# psycopg's name of the implementation (PSYCOPG_IMPL) → the distribution that holds it.
DRIVERS = {"binary": "psycopg-binary", "c": "psycopg-c"}

# What installers write differs between machines; the rest is of no use at run time.
_LEFT_OUT = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "py.typed"})
_LEFT_OUT_SUFFIXES = (".pyc", ".pyi", ".pyx", ".pxd", ".c", ".h")


def collect(names: Iterable[str]) -> list[Distribution]:
    """These distributions and all that they require, sorted by name. Raises BuildError F341."""
    found: dict[str, Distribution] = {}
    wanted = [normalise(name) for name in names]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _find(name)
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

    Raises BuildError: F341 when its files are not recorded, F342 when one differs from its record.
    """
    record = dist.read_text("RECORD")  # not dist.files: that leaves out what is missing
    if record is None:
        raise _missing(dist.name, "has no RECORD of its files")
    rows = [row for row in csv.reader(record.splitlines()) if len(row) == 3 and _is_wanted(row[0])]
    compiled = any(name.endswith(tuple(EXTENSION_SUFFIXES)) for name, _, _ in rows)
    prefix = "_native/" if compiled else ""
    return {prefix + name: _read(dist, name, recorded) for name, recorded, _ in rows}


def _is_wanted(name: str) -> bool:
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts  # scripts lie outside: ../../bin
    return inside and path.name not in _LEFT_OUT and not name.endswith(_LEFT_OUT_SUFFIXES)


def _read(dist: Distribution, name: str, recorded: str) -> bytes:
    try:
        data = Path(str(dist.locate_file(name))).read_bytes()
    except OSError as err:
        raise _missing(dist.name, f"lacks its file {name}") from err
    digest = base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
    if recorded.startswith("sha256=") and recorded != f"sha256={digest}":
        raise failure("changed", file=name, name=dist.name)
    return data


def _find(name: str) -> Distribution:
    try:
        return Distribution.from_name(name)
    except NotInstalled:
        raise _missing(name, "is not installed") from None


def _missing(name: str, what: str) -> BuildError:
    extra = {"psycopg-binary": "forge-min[binary]", "psycopg-c": "forge-min[c]"}.get(name, name)
    return failure("no_distribution", name=name, what=what, extra=extra)
