"""The manifest of an artifact: the SHA-256 of every member, as `sha256sum -c` reads it.

Written by `ship`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Literal

from .errors import BuildError

NAME = "manifest.sha256"
INFO = "build-info.json"
_UNLISTED = frozenset({NAME, INFO})
Difference = Literal["missing", "added", "altered"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Names of members (with "/") → SHA-256 in hexadecimal. Folders are not listed."""

    hashes: Mapping[str, str]

    @classmethod
    def of(cls, members: Mapping[str, bytes]) -> Manifest:
        """The manifest of these members; the manifest itself and the build info are left out."""
        return cls(
            {
                name: sha256(data).hexdigest()
                for name, data in sorted(members.items())
                if name not in _UNLISTED
            }
        )

    @classmethod
    def read(cls, text: str) -> Manifest:
        """The opposite of `write`. Raises BuildError F349 when a line is none of `sha256sum`'s."""
        hashes: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            digest, gap, name = line[:64], line[64:66], line[66:]
            if (
                gap != "  "
                or not name
                or name in hashes
                or not set(digest) <= set("0123456789abcdef")
            ):
                raise BuildError(f"{NAME}, line {number}, is not a hash and a name", code="F349")
            hashes[name] = digest
        return cls(hashes)

    def write(self) -> str:
        """One line a member, sorted by name."""
        return "".join(f"{digest}  {name}\n" for name, digest in sorted(self.hashes.items()))

    @property
    def digest(self) -> str:
        """One hash that stands for all of them."""
        return sha256(self.write().encode()).hexdigest()

    def only(self, names: Iterable[str]) -> Manifest:
        """The part of it that lists these names. Raises KeyError for one that is not listed."""
        return Manifest({name: self.hashes[name] for name in names})

    def verify(self, members: Mapping[str, bytes]) -> list[str]:
        """What differs, one sentence each: missing, added and altered members, sorted."""
        verb = {"missing": "is", "added": "was", "altered": "was"}
        differing = self.differences(members).items()
        return sorted(f"{name} {verb[what]} {what}" for name, what in differing)

    def differences(self, members: Mapping[str, bytes]) -> dict[str, Difference]:
        """The names of what differs, sorted, with what is wrong with each."""
        found = Manifest.of(members).hashes
        differing: dict[str, Difference] = {}
        for name in sorted(self.hashes.keys() | found.keys()):
            if name not in found:
                differing[name] = "missing"
            elif name not in self.hashes:
                differing[name] = "added"
            elif self.hashes[name] != found[name]:
                differing[name] = "altered"
        return differing


def _listed(folder: Path) -> list[tuple[str, Path]]:
    """What is in a folder artifact but folders, links too, by its name inside."""
    files = sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())
    return [(path.relative_to(folder).as_posix(), path) for path in files]


def _read(path: Path) -> bytes:
    """A file of a folder; nothing of what is none: no build writes a link."""
    return path.read_bytes() if path.is_file() and not path.is_symlink() else b""


def read_members(artifact: Path) -> dict[str, bytes]:
    """Every file of an artifact, zipapp or folder, by its name inside.

    Raises BuildError F349 when it is neither.
    """
    if artifact.is_dir():
        return {name: _read(path) for name, path in _listed(artifact)}
    try:
        with zipfile.ZipFile(artifact) as archive:
            return {i.filename: archive.read(i) for i in archive.infolist() if not i.is_dir()}
    except Exception as err:  # a damaged file makes zipfile and zlib raise many things
        raise BuildError(
            f"{artifact} cannot be read as an artifact: {err}",
            code="F349",
            hint="name a .pyz, or a folder that build --format dir made",
        ) from err


def read_each(artifact: Path) -> tuple[dict[str, bytes], list[str]]:
    """As `read_members`, of one that may be damaged: every file that can be read (b"" for one that
    cannot), and the names of those that cannot.
    """
    members: dict[str, bytes] = {}
    unreadable = []
    with ExitStack() as stack:
        reads: dict[str, Callable[[], bytes]] = {}
        if artifact.is_dir():
            reads |= {name: path.read_bytes for name, path in _listed(artifact)}
        else:
            archive = stack.enter_context(zipfile.ZipFile(artifact))
            for member in archive.infolist():
                if not member.is_dir():
                    reads[member.filename] = partial(archive.read, member)
        for name, read in reads.items():
            try:
                members[name] = read()
            except Exception:  # a damaged stream makes zipfile and zlib raise many things
                unreadable.append(name)
                members[name] = b""
    return members, unreadable
