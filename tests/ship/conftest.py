"""A copy of the example to build, with none of its made files, and caches of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "departures"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The example, where no repository is: its commit is unknown."""
    return copy_example(tmp_path / "departures")


def copy_example(folder: Path) -> Path:
    """The example's own files, in this folder."""
    made = shutil.ignore_patterns("dist", "gen", "__pycache__", "_vendor", ".gen.*")
    shutil.copytree(EXAMPLE, folder, ignore=made)
    return folder


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is unpacked outside the test's folder, and the repository around it is not seen."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
