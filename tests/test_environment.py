"""tools/environment.sh where something is missing: one clear sentence, or what root may install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "tools" / "environment.sh"
OLD = "exit 1"
# Says yes to every question, but cannot make environments until apt-get was there.
WITHOUT_VENV = 'case "$*" in *ensurepip*) [ -e "$HOME/installed" ] ;; *-m*venv*) exit 7 ;; esac'
APT = 'echo "$*" >>"$HOME/installed"'


def make(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Runs the script where these shell programs come first; PYTHON is `python-here`."""
    (folder / "bin").mkdir()
    for name, body in programs.items():
        program = folder / "bin" / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    environ = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHON": "python-here",
    }
    return subprocess.run(
        [SCRIPT, ".venv", ".venv/.made"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_python_that_is_too_old_is_one_clear_sentence(tmp_path: Path) -> None:
    done = make(tmp_path, python_here=OLD)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "forge_min: Python 3.11 or newer is needed, and python-here is not; "
        "name one: make PYTHON=/path/to/python3"
    ]


def test_without_venv_a_person_is_told_what_to_install(tmp_path: Path) -> None:
    done = make(tmp_path, python_here=WITHOUT_VENV, id="echo 1000", apt_get=APT)
    assert done.returncode == 1
    assert "install python3-venv" in done.stderr
    assert not (tmp_path / "installed").exists()


@pytest.mark.parametrize("moved", [False, True])
def test_without_venv_root_installs_it(tmp_path: Path, moved: bool) -> None:
    if moved:  # an environment that another folder made is not used
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / ".home").write_text("/another/folder\n")
        (tmp_path / ".venv" / "bin" / "python").symlink_to("/bin/true")
    done = make(tmp_path, python_here=WITHOUT_VENV, id="echo 0", apt_get=APT)
    assert "install -qy python3-venv" in (tmp_path / "installed").read_text()
    assert done.returncode == 7


def test_an_installation_renders_the_manual_that_vendor_packs() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--what-if=docs/conf.py", "install"],
        cwd=SCRIPT.parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-m sphinx" in done.stdout and "forge_min/_manual" in done.stdout


@pytest.mark.thorough
@pytest.mark.slow
def test_mypy_finds_the_package_from_a_project_of_its_own(tmp_path: Path) -> None:
    """As `make install` leaves it: an environment that is older than the script fails here."""
    (tmp_path / "app.py").write_text(
        "from forge_min import schema\nfrom forge_min.app import App\n\nreveal_type(App())\n"
    )
    environ = {k: v for k, v in os.environ.items() if k not in ("MYPYPATH", "PYTHONPATH")}
    command = [sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "app.py"]
    command += ["--follow-imports", "silent"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "forge_min.app.declaration.App" in done.stdout) == (0, True), (
        done.stdout
    )
