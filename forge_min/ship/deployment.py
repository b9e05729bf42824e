"""The files that put a project into an image or onto a host, never written over an edit.

The first line of each holds the hash of the rest, so that an edited file is known from one of ours.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Literal

from .. import __version__
from ..config import load
from ..data import files, table
from .artifact import replace
from .failure import failure
from .project import read_project

Base = Literal["alpine", "debian"]
Also = Literal["compose", "systemd"]
_MARK = "# forge: sha256="
_TABLE = table(__package__, "templates/deployment.toml")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*\Z")


@dataclass(frozen=True, slots=True)
class Deployed:
    """Names of files in the project: written now, and those that were as they should be."""

    written: tuple[str, ...]
    unchanged: tuple[str, ...]


def deploy(
    root: Path,
    *,
    base: Base = "alpine",
    vendor: Path | None = None,
    also: Collection[Also] = (),
    force: bool = False,
    check: bool = False,
) -> Deployed:
    """Writes the files for an image of the project at `root`; with `check`, only compares.

    vendor: a folder in the project that `vendor` has filled: the image is built from it alone,
    without a network. also: "compose" for compose.yaml, "systemd" for a socket and two services
    in systemd/.

    Raises BuildError F360 when a file was edited and `force` is missing (then nothing is written),
    F361 when `check` finds a file that is missing or differs, F362 for a vendor folder that cannot
    be used, F345 when a file cannot be written.
    """
    values = _values(root, base, "" if vendor is None else _vendored(root, vendor))
    wanted = dict(_marked(values, also))
    found = {name: _read(root / name) for name in wanted}
    differing = sorted(name for name in wanted if found[name] != wanted[name])
    if check and differing:
        raise failure("differs", names=", ".join(differing))
    edited = [name for name in differing if not _is_ours(found[name])]
    if edited and not force:
        raise failure("edited", names=", ".join(edited))
    for name in differing:
        write = partial(Path.write_bytes, data=wanted[name].encode())
        replace(root / name, write, "file_not_written")
    return Deployed(tuple(differing), tuple(sorted(wanted.keys() - set(differing))))


def _vendored(root: Path, vendor: Path) -> str:
    """The vendor folder as the build's context has it. Raises BuildError F362."""
    for what in ("requirements.lock", "wheelhouse/forge_min-*.whl"):
        if not any(vendor.glob(what)):
            raise failure("no_vendor", folder=vendor, why=f"there is no {what} in it")
    name = vendor.relative_to(root).as_posix() if vendor.is_relative_to(root) else ".."
    if not _PLAIN.match(name):
        raise failure("no_vendor", folder=vendor, why="the build's context does not reach it")
    return name


def _values(root: Path, base: Base, vendor: str) -> dict[str, str]:
    """The words of the templates."""
    project = read_project(root)
    values = {
        "name": project.name,
        "repository": project.name.lower(),  # an image's name has no capitals
        "version": project.version,
        "forge_version": __version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_role": load(root, {}).database.app_role,
        "vendor": vendor,
        "again": f"!{vendor}/wheelhouse\n!{vendor}/requirements.lock\n" if vendor else "",
    }
    values |= {part: _words(text, values) for part, text in _TABLE["base"][base].items()}
    values["install"] = _fill("vendor.tmpl" if vendor else "index.tmpl", values).rstrip()
    return {**values, "library": ""} if vendor else values


def _marked(values: Mapping[str, str], also: Collection[Also]) -> Iterator[tuple[str, str]]:
    """Every file by its name in the project, the hash of its text before it."""
    for row in _TABLE["file"]:
        if row.get("with") in (None, *also):
            own = {word: _words(text, values) for word, text in row.items()}
            text = _fill(row["template"], {**own, **values})
            yield own["name"], f"{_MARK}{_hash(text)}\n{text}"


def _fill(name: str, values: Mapping[str, str]) -> str:
    return _words(files(__package__).joinpath("templates", name).read_text("utf-8"), values)


def _words(text: str, values: Mapping[str, str]) -> str:
    return Template(text).substitute(values)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _is_ours(text: str | None) -> bool:
    """Whether the file is missing, or its first line holds the hash of the others."""
    if text is None:
        return True
    first, _, rest = text.partition("\n")
    return first == _MARK + _hash(rest)


def _read(path: Path) -> str | None:
    return path.read_text("utf-8", "replace") if path.is_file() else None
