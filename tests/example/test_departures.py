"""`make run SMOKE=1` from an empty folder, then again: the whole product on real data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.db]

EXAMPLE = Path(__file__).parents[2] / "examples" / "departures"


def smoke(state: Path) -> subprocess.CompletedProcess[str]:
    """What the Makefile runs, with its data elsewhere."""
    return subprocess.run(
        [sys.executable, EXAMPLE / "run.py", "--smoke", "--state", state],
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(state)},
    )


@pytest.mark.long  # `make elsewhere`, which every change must pass, does the same from a wheel
def test_the_example_loads_the_world_and_keeps_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = smoke(state)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "import airports" in first.stdout and "all checks held" in first.stdout
    second = smoke(state)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "import airports" not in second.stdout and "all checks held" in second.stdout
    assert not list(state.glob(".cache")), "something was written to HOME"


def test_generated_code_of_the_example_is_up_to_date() -> None:
    for project in (EXAMPLE, EXAMPLE.parents[1] / "benchmarks" / "http" / "shop"):
        done = subprocess.run(
            [sys.executable, "-m", "forge_min", "--project", project, "generate", "--check"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_generated_and_scaffolded_code_passes_ruff_and_mypy_strict() -> None:
    # No cache is written into the example, because other tests copy it to small disks.
    for command in (
        ["ruff", "check", "--isolated", "--no-cache"],
        ["mypy", "--cache-dir", os.devnull, "--strict", "--explicit-package-bases"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command, "gen", "resources", "app.py"],
            cwd=EXAMPLE,
            env=os.environ | {"MYPYPATH": str(EXAMPLE.parents[1])},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
