"""The command line as a child process, and a project to use it on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import forge_min
import pytest

PACKAGE = Path(forge_min.__file__).parent
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(**more: str) -> dict[str, str]:
    """This process's environment without FORGE_ variables, with the package importable."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("FORGE_", "DATABASE_URL"))}
    if "FORGE_IMPL" in os.environ:
        clean["FORGE_IMPL"] = os.environ["FORGE_IMPL"]
    return {**clean, "PYTHONPATH": str(PACKAGE.parent), "PYTHONWARNINGS": "error", **more}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """cli("build", cwd=folder, FORGE_X="...") runs `python -m forge_min build` to its end."""

    def run(
        *arguments: str, cwd: Path = tmp_path, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "forge_min", *arguments],
            cwd=cwd,
            env=environment(**environ),
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `init shop` makes; do not change it."""
    folder = tmp_path_factory.mktemp("init")
    subprocess.run(
        [sys.executable, "-m", "forge_min", "init", "shop"],
        cwd=folder,
        env=environment(),
        check=True,
        capture_output=True,
    )
    return folder / "shop"


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A fresh project of this test's own."""
    return Path(shutil.copytree(made, tmp_path / "shop"))
