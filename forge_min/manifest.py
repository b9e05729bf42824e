"""The manifest of an artifact: the SHA-256 of every member, as `sha256sum -c` reads it.

Written by `ship`.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
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
# SAFETY: what stands for a thing that no build writes has bytes that no manifest has the hash of.
_NO_FILE = os.urandom(32)


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
        """The opposite of `write`. Raises BuildError F349 when a line is none of `sha256sum`'s, or
        has a name again.
        """
        hashes: dict[str, str] = {}
        for number, (digest, name) in enumerate(read_lines(text), 1):
            if name in hashes:
                raise _no_line(number)
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


def read_lines(text: str) -> Iterator[tuple[str, str]]:
    """Hash and name of each line, as `sha256sum` writes them. Raises BuildError F349 for another.

    A line ends with "\\n" alone: whatever else some call the end of a line may be in a name.
    """
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
        digest, gap, name = line[:64], line[64:66], line[66:]
        if gap != "  " or not name or not set(digest) <= set("0123456789abcdef"):
            raise _no_line(number)
        yield digest, name


def _no_line(number: int) -> BuildError:
    return BuildError(f"{NAME}, line {number}, is not a hash and a name", code="F349")


def listed(folder: Path) -> list[str]:
    """The names of all that is in a folder artifact but folders that hold something, sorted. Links
    are not followed; a folder that holds nothing, or cannot be looked into, ends with "/".
    """
    found = []
    for top, folders, names in os.walk(folder):
        inside = Path(top).relative_to(folder)
        found += [(inside / name).as_posix() for name in names]
        for path in (Path(top, name) for name in folders):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found.append(name)
            elif not _holds_any(path):
                found.append(f"{name}/")
    return sorted(found)


def _holds_any(folder: Path) -> bool:
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False


def _read(folder: Path, name: str) -> bytes:
    """A file of a folder. Raises OSError for one that cannot be read."""
    path = folder / name
    if name.endswith("/") or path.is_symlink() or not path.is_file():
        return _NO_FILE
    return path.read_bytes()


def read_members(artifact: Path) -> dict[str, bytes]:
    """Every file of an artifact, zipapp or folder, by its name inside. In a folder links, special
    files and empty folders have bytes that are those of no file: no build writes such.

    Raises BuildError F349 when it is neither.
    """
    try:
        if artifact.is_dir():
            return {name: _read(artifact, name) for name in listed(artifact)}
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
            reads |= {name: partial(_read, artifact, name) for name in listed(artifact)}
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
