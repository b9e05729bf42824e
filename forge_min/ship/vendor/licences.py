"""Licences of a distribution: what its metadata says, and the texts that came with it."""

from __future__ import annotations

import re
from importlib.metadata import Distribution
from pathlib import PurePosixPath

from .. import artifact

_TEXT = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|AUTHORS)", re.IGNORECASE)


def licence_of(dist: Distribution) -> str:
    """Its SPDX expression (PEP 639), else what its author calls it, else ""."""
    words = dist.metadata
    if "License-Expression" in words:
        return words["License-Expression"].strip()
    named = str((words.get_all("License") or [""])[0]).strip()
    if 0 < len(named) <= 80 and "\n" not in named:  # some put the whole text there
        return named
    rows = words.get_all("Classifier") or []
    return next((row.rpartition(" :: ")[2] for row in rows if row.startswith("License :: ")), "")


def licence_texts(dist: Distribution) -> dict[str, bytes]:
    """Licences and notices by their name in the vendor folder. Raises as `recorded_files`."""
    folder = f"licenses/{artifact.normalise(dist.name)}-{dist.version}"
    texts = artifact.recorded_files(dist, _is_text)
    return {f"{folder}/{'/'.join(_inside(name))}": data for name, data in texts.items()}


def _is_text(path: PurePosixPath) -> bool:
    described = path.parts[0].endswith(".dist-info")
    return described and ("licenses" in path.parts or _TEXT.match(path.name) is not None)


def _inside(name: str) -> tuple[str, ...]:
    """The path below x.dist-info/ and below its licenses/, where installers put them."""
    parts = PurePosixPath(name).parts[1:]
    return parts[1:] if parts[0] == "licenses" else parts
