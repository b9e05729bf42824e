"""The command vendor: its answers, its refusals, and a full disk."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import pytest
from forge_min.cli import main

from .conftest import Cli, environment
from .test_commands import on_a_terminal

pytestmark = pytest.mark.slow


@pytest.mark.thorough
def test_the_answer_is_data(cli: Cli, project: Path) -> None:
    done = cli("vendor", "--offline", "--json", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["path"] == str(project / "vendor")
    assert answer["licences"]["forge-min"] == "MIT"
    assert sorted(answer["wheels"]) == sorted(p.name for p in project.glob("vendor/*/*.whl"))


@pytest.mark.thorough
def test_a_copy_without_its_manual_is_announced(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of an installed checkout, which has the sources of the manual only."""
    for name in ("commands.ship", "ship.vendor.folder"):
        monkeypatch.setattr(import_module(f"forge_min.{name}"), "manual", lambda: None)
    assert main(["--project", str(project), "vendor", "--offline"]) == 0
    warning = "warning: vendor/manual is missing: this forge_min has no rendered manual"
    assert capsys.readouterr().err.startswith(warning)
    assert not (project / "vendor" / "manual").exists()


def test_platforms_and_what_is_installed_exclude_each_other(cli: Cli, project: Path) -> None:
    done = cli("vendor", "--offline", "--platform", "musllinux_x86_64", cwd=project)
    assert done.returncode == 2 and "fit only this machine" in done.stderr
    assert cli("vendor", "--platform", "vax", cwd=project).returncode == 2
    assert not (project / "vendor").exists()


STARVED = """
import sys
from forge_min.cli import main
code = main(["vendor", "--offline"])
print(code, *sorted({m.partition(".")[0] for m in sys.modules}))
"""


@pytest.mark.thorough
def test_a_full_disk_leaves_what_was_there_and_no_code_of_others_was_loaded(project: Path) -> None:
    (project / "vendor").mkdir()
    (project / "vendor" / "requirements.lock").write_text("old")
    # Without its listing the folder would be foreign, and refused before anything is written.
    (project / "vendor" / "SHA256SUMS").write_text(
        f"{sha256(b'old').hexdigest()}  requirements.lock\n"
    )
    # As on a disk with room for a megabyte, write(2) fails.
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 1000; exec "$0" -c "$1"', sys.executable, STARVED],
        cwd=project,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    code, *loaded = done.stdout.split()
    assert code == "1" and "error[F002]" in done.stderr
    assert not {"psycopg", "psycopg_binary", "opentelemetry", "app", "gen"} & set(loaded)
    assert (project / "vendor" / "requirements.lock").read_text() == "old"
    assert sorted(path.name for path in project.glob("*vendor*")) == ["vendor"]


@pytest.mark.thorough
def test_progress_is_shown_on_a_terminal(project: Path) -> None:
    code, shown = on_a_terminal(["vendor", "--offline", "-o", "elsewhere"], project)
    assert code == 0
    for step in ("own wheel", "wheels", "folder"):
        assert re.search(rf"{step} +\d+\.\d\d s", shown)


def test_the_source_is_copied(cli: Cli, project: Path) -> None:
    done = cli("vendor", "--source", "--json", cwd=project)
    assert json.loads(done.stdout) == {"path": str(project / "_vendor" / "forge_min")}
    assert (project / "_vendor" / "forge_min" / "py.typed").is_file()
