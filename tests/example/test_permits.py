"""`make run EXAMPLE=permits SMOKE=1` from an empty folder: states, a capacity, reports, offices."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from forge_min.cli import main

PERMITS = Path(__file__).parents[2] / "examples" / "permits"


def test_its_generated_files_are_up_to_date(tmp_path: Path) -> None:
    copy = str(shutil.copytree(PERMITS, tmp_path / "permits"))
    assert main(["generate", "--check", "--project", copy]) == 0
    assert main(["migrate", "diff", "--project", copy]) == 0
    assert len(list((tmp_path / "permits" / "migrations").iterdir())) == 1


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.db
def test_its_artifact_keeps_every_promise_of_the_example(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, PERMITS / "run.py", "--smoke", "--state", tmp_path / "state"],
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert "all checks held" in ran.stdout and "FAIL" not in ran.stdout
