"""requirements.lock: names, versions and the SHA-256 of each wheel, as pip --require-hashes wants.

The one place that says which wheels a wheelhouse holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import groupby

from .. import artifact
from .wheel import Wheel

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


def read_lock(text: str) -> Mapping[tuple[str, str], frozenset[str]]:
    """Name and version → the hashes of its wheels. Also reads what pip-compile and uv write."""
    found = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        pin = _PIN.match(line)
        if pin:
            found[artifact.normalise(pin[1]), pin[2]] = frozenset(_HASH.findall(line))
    return found
