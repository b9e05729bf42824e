"""What importing loads: nothing that builds at run time, and no slow package before its time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from forge_min.ship.artifact.package import CARRIED

SLOW = {"psycopg", "psycopg_c", "psycopg_binary", "opentelemetry"}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh process has after running the code."""
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('loaded', *sys.modules)"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(shown.stdout.rpartition("loaded ")[2].split())


def packages(modules: set[str]) -> set[str]:
    """The top-level names among them."""
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("package", ["entry", "app", "ops.serve", "ops.rows"])
def test_the_run_row_loads_nothing_that_builds(package: str) -> None:
    modules = loaded_by(f"import forge_min.{package}")
    loaded = {m.split(".")[1] for m in modules if m.startswith("forge_min.")}
    assert loaded <= CARRIED | {"_fanout"}


@pytest.mark.parametrize("package", ["wsgi", "admin.server", "observe", "ship", "cli", "entry"])
def test_the_package_loads_neither_psycopg_nor_opentelemetry(package: str) -> None:
    assert not packages(loaded_by(f"import forge_min.{package}")) & SLOW


def test_a_page_waits_for_nothing_of_the_admin_server_nor_of_a_worker() -> None:
    modules = loaded_by("import forge_min.ops.serve, forge_min.app")
    late = ("forge_min.admin.", "forge_min.jobs.worker", "forge_min.observe.profiles")
    assert not {module for module in modules if module.startswith(late)}
    assert "forge_min.wsgi.server" in modules and "tracemalloc" not in modules


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "build --help",
        "verify --help",
        "deploy --help",
        "vendor --help",
        "help F340",
    ],
)
def test_the_command_loads_neither_psycopg_nor_opentelemetry(command: str) -> None:
    code = f"""
from forge_min.cli import main
try:
    main({command.split()!r})
except SystemExit:
    pass
"""
    assert not packages(loaded_by(code)) & SLOW
