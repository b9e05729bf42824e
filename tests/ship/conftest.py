"""A copy of the example to build, with none of its made files, and caches of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml
from forge_min.ship import BuildResult

from building import build

# It asks a package index, so `make test` leaves it to `make elsewhere`.
collect_ignore = [] if os.environ.get("FORGE_ELSEWHERE") else ["test_from_elsewhere.py"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "departures"


@pytest.fixture(scope="session")
def copy_example() -> Callable[[Path], Path]:
    """Puts the example's own files into a folder, and gives it back."""

    def copy(folder: Path) -> Path:
        made = shutil.ignore_patterns("dist", "gen", "_vendor", ".gen.*", "__pycache__", ".*_cache")
        shutil.copytree(EXAMPLE, folder, ignore=made)
        return folder

    return copy


@pytest.fixture(scope="session")
def built(
    tmp_path_factory: pytest.TempPathFactory, copy_example: Callable[[Path], Path]
) -> BuildResult:
    """The example as a zip, built once for the tests that only look at it."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SOURCE_DATE_EPOCH", raising=False)
        return build(copy_example(folder / "departures"))


@pytest.fixture
def project(tmp_path: Path, copy_example: Callable[[Path], Path]) -> Path:
    """The example, where no repository is: its commit is unknown."""
    return copy_example(tmp_path / "departures")


@pytest.fixture(scope="session")
def read_compose() -> Callable[..., dict[str, dict[str, Any]]]:
    """The services of a compose.yaml, its variables filled in; KeyError where one is not."""

    class Compose(Template):
        braceidpattern = r"[A-Z_]+(?::[?-][^}]*)?"

    def read(project: Path, **given: str) -> dict[str, dict[str, Any]]:
        text = Compose((project / "compose.yaml").read_text())
        asked = {name: _given(name, given) for name in text.get_identifiers()}
        services: dict[str, dict[str, Any]] = yaml.safe_load(text.substitute(asked))["services"]
        return services

    return read


def _given(variable: str, values: Mapping[str, str]) -> str:
    """`NAME:-default` or `NAME:?why`."""
    name, _, otherwise = variable.partition(":")
    return values.get(name, otherwise[1:]) if otherwise.startswith("-") else values[name]


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is unpacked outside the test's folder, and no build has a date from outside."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
