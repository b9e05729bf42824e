"""A second build against the first: the same bytes, or the names of the inputs that differ."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...manifest import INFO, Manifest, read_members
from ..artifact import write_zipapp
from ..failure import failure

_MADE = ("sources", "manifest", "native", "native_files")  # of build-info.json: follow from inputs


def compare(path: Path, members: Mapping[str, bytes]) -> None:
    """Raises BuildError F381 unless the artifact at `path` is what these members give, naming what
    differs; F349 where none is.
    """
    found = read_members(path)
    if found != members:
        names = list(_differences(found, members))
        raise failure("not_same", path=path, names="; ".join(names))
    if path.is_file():
        with tempfile.TemporaryDirectory(prefix="forge-verify-") as folder:
            write_zipapp(members, Path(folder, "again.pyz"))
            if Path(folder, "again.pyz").read_bytes() != path.read_bytes():
                raise failure("not_same", path=path, names="the zip's own bytes, no member")


def _differences(found: Mapping[str, bytes], members: Mapping[str, bytes]) -> Iterator[str]:
    """Inputs first; of members those only that are not made of others that differ."""
    old, new = (_flat(json.loads(part.get(INFO) or b"{}")) for part in (found, members))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key} was {old.get(key)}, and is {new.get(key)}"
    differing = Manifest.of(members).differences(found)
    own = {name: what for name, what in differing.items() if not name.endswith((".pyc", ".gz"))}
    shown = list((own or differing).items())
    yield from (f"{name} ({what})" for name, what in shown[:10])
    if len(shown) > 10:
        yield f"and {len(shown) - 10} more files"


def _flat(info: Mapping[str, object]) -> dict[str, object]:
    """The inputs of a build info, by their names."""
    named = {key: value for key, value in info.items() if key not in _MADE}
    inputs = named.pop("inputs", None)
    return {**named, **(inputs if isinstance(inputs, dict) else {})}
