"""SHA256SUMS beside an artifact: what it says, and what it shall say. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Set
from hashlib import sha256
from pathlib import Path

from ...errors import BuildError
from ...manifest import INFO, read_lines

SUMS = "SHA256SUMS"


def sums_name(path: Path, made: Path | None = None) -> str:
    """What SHA256SUMS lists of an artifact: itself; of a folder its build info, which has the hash
    of the manifest, which has all others. made: what takes its place, where nothing may be yet.
    """
    return f"{path.name}/{INFO}" if (made or path).is_dir() else path.name


def read_sums(path: Path) -> Mapping[str, Set[str]]:
    """What SHA256SUMS beside the artifact says; nothing where it cannot be read. A name has two
    hashes while an artifact is replaced, and after a kill just then.
    """
    found: dict[str, set[str]] = {}
    try:
        for digest, name in read_lines((path.parent / SUMS).read_text("utf-8", "replace")):
            found.setdefault(name, set()).add(digest)
    except (OSError, BuildError):
        return {}
    return found


def sums_of(path: Path, made: Path) -> tuple[str, str]:
    """SHA256SUMS while `made` takes the place of the artifact at `path`, each of which may be the
    other, and afterwards. Lines of others that exist stay.
    """
    name = sums_name(path, made)
    known = read_sums(path)
    others = {n: told for n, told in known.items() if n != name and (path.parent / n).is_file()}
    new = {_digest(made)}
    old = {_digest(path)} & known[name] if name in known and path.exists() else set()
    return _text({**others, name: new | old}), _text({**others, name: new})


def _digest(path: Path) -> str:
    return sha256((path / INFO if path.is_dir() else path).read_bytes()).hexdigest()


def _text(sums: Mapping[str, Set[str]]) -> str:
    lines = (f"{digest}  {name}\n" for name in sorted(sums) for digest in sorted(sums[name]))
    return "".join(lines)
