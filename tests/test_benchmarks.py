"""The short benchmarks still run, and say what they are for: a figure nobody can get is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.thorough
@pytest.mark.parametrize(
    "script, said",
    [
        ("observe/metrics.py", "goal: c, request, at most 1"),
        ("limiter.py", "goal: c, 1 thread, at most 250 ns"),
        ("generate.py", "(goal: at most 2)"),
        ("fresh_database.py", "both_ms"),
        ("http/render.py", "Jinja2"),
    ],
)
def test_a_benchmark_runs_to_its_end(script: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
