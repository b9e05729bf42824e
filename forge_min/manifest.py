"""The manifest of an artifact: the SHA-256 of every member, as `sha256sum -c` reads it.

`ship` writes it.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from .errors import BuildError

NAME = "manifest.sha256"
INFO = "build-info.json"
_UNLISTED = frozenset({NAME, INFO})
# SAFETY: links and special files have random content, so that no manifest has their hash.
_NO_FILE = os.urandom(32)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Names of members (with "/") → SHA-256 in hexadecimal. Folders are not listed."""

    hashes: Mapping[str, str]

    @classmethod
    def of(cls, members: Mapping[str, bytes]) -> Manifest:
        """Return the manifest of these members, without the manifest itself and the build info."""
        names = sorted(members.keys() - _UNLISTED)
        return cls({name: sha256(members[name]).hexdigest() for name in names})

    @classmethod
    def read(cls, text: str) -> Manifest:
        """Parse the text of `write`.

        Only "\n" ends a line: other line separators may be part of a name.

        Raises BuildError F380 if a line is not one of `sha256sum`, or repeats a name.
        """
        hashes: dict[str, str] = {}
        if not text:
            return cls(hashes)
        for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
            match = re.fullmatch(r"(?s)([0-9a-f]{64})  (.+)", line)
            if match is None or match[2] in hashes:
                raise BuildError(f"{NAME}, line {number}, is not a hash and a name", code="F380")
            digest, name = match.groups()
            hashes[name] = digest
        return cls(hashes)

    def write(self) -> str:
        """Return one line per member, sorted by name."""
        return "".join(f"{digest}  {name}\n" for name, digest in sorted(self.hashes.items()))

    @property
    def digest(self) -> str:
        """One hash over all members."""
        return sha256(self.write().encode()).hexdigest()

    def differences(self, members: Mapping[str, bytes]) -> dict[str, str]:
        """Return the names of differing members, sorted, with "missing", "added" or "altered"."""
        current = Manifest.of(members).hashes
        result = {}
        for name in sorted(self.hashes.keys() | current.keys()):
            if name not in current:
                result[name] = "missing"
            elif name not in self.hashes:
                result[name] = "added"
            elif self.hashes[name] != current[name]:
                result[name] = "altered"
        return result


def list_files(folder: Path, onerror: Callable[[OSError], object] | None = None) -> list[str]:
    """Return the names of all files in a folder, sorted. Links are not followed.

    onerror: called for a folder that cannot be read, which is skipped.
    """
    names = []
    for top, folders, files in os.walk(folder, onerror=onerror):
        paths = [Path(top, name) for name in (*files, *folders)]
        names += [path for path in paths if path.is_symlink() or not path.is_dir()]
    return sorted(path.relative_to(folder).as_posix() for path in names)


def _read(folder: Path, name: str) -> bytes:
    """Read a file of a folder. Raises OSError if it cannot be read."""
    path = folder / name
    if path.is_symlink() or not path.is_file():
        return _NO_FILE
    return path.read_bytes()


def read_members(artifact: Path) -> dict[str, bytes]:
    """Return the content of every file of an artifact, zipapp or folder, by its name inside.

    In a folder, links and special files have random content, because no build writes them.

    Raises BuildError F380 if it is neither.
    """
    try:
        members, unreadable = read_readable(artifact)
        if unreadable:
            raise ValueError(f"{unreadable[0]} is damaged")
    except Exception as err:  # zipfile and zlib raise many types of errors
        raise BuildError(
            f"{artifact} cannot be read as an artifact: {err}",
            code="F380",
            hint="name a .pyz, or a folder that build --format dir made",
        ) from err
    return members


def read_readable(artifact: Path) -> tuple[dict[str, bytes], list[str]]:
    """Return the content of the files of a damaged artifact, and the names of unreadable ones.

    Unreadable files have the content b"". Else as `read_members`.
    """
    if artifact.is_dir():
        return _read_each(list_files(artifact), partial(_read, artifact))
    with zipfile.ZipFile(artifact) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        return _read_each(names, archive.read)


def _read_each(
    names: Sequence[str], read: Callable[[str], bytes]
) -> tuple[dict[str, bytes], list[str]]:
    members = {}
    unreadable = []
    for name in names:
        try:
            members[name] = read(name)
        except Exception:  # zipfile and zlib raise many types of errors
            unreadable.append(name)
            members[name] = b""
    return members, unreadable


def damage(artifact: Path) -> tuple[Manifest, dict[str, str]]:
    """Return the manifest of an artifact, and the members that differ from it.

    Each of these is "missing", "added", "altered" or "unreadable". The manifest itself is among
    them if the build info has another hash.

    Raises BuildError F380 for a manifest that cannot be parsed.
    """
    members, unreadable = read_readable(artifact)
    manifest = Manifest.read(members.get(NAME, b"").decode("utf-8", "replace"))
    wrong = manifest.differences(members) | dict.fromkeys(unreadable, "unreadable")
    if json.loads(members.get(INFO) or b"{}").get("manifest") != manifest.digest:
        wrong[NAME] = f"not the one of {INFO}"
    return manifest, wrong
