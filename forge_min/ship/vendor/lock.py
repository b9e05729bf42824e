"""requirements.lock: names, versions and the SHA-256 of each wheel, as pip --require-hashes wants.

The one place that says which wheels a wheelhouse holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from .. import artifact
from ..failure import failure
from .wheel import Wheel

Pins = Mapping[tuple[str, str], frozenset[str]]

NAME = "requirements.lock"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def write_lock(wheels: Iterable[Wheel], comment: str) -> str:
    """One requirement a distribution, with the hashes of its wheels for all platforms."""
    lines = [f"# {comment}"]
    ordered = sorted(wheels, key=lambda wheel: (wheel.name, wheel.version, wheel.file))
    for (name, version), same in groupby(ordered, key=lambda wheel: (wheel.name, wheel.version)):
        digests = [f"    --hash=sha256:{wheel.digest}" for wheel in same]
        lines.append(" \\\n".join([f"{name}=={version}", *digests]))
    return "\n".join(lines) + "\n"


def read_lock(text: str) -> Pins:
    """Name and version → the hashes of its wheels. Also reads what pip-compile and uv write."""
    found = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        pin = _PIN.match(line)
        if pin:
            found[artifact.normalise(pin[1]), pin[2]] = frozenset(_HASH.findall(line))
    return found


def read_lock_file(path: Path) -> Pins:
    """As `read_lock`. Raises BuildError F371 when there is no such file, or it is no text."""
    try:
        return read_lock(path.read_text("utf-8"))
    except (OSError, ValueError) as err:
        why = getattr(err, "strerror", None) or err
        raise failure("no_lock", folder=path.parent, lock=path.name, why=why) from err
