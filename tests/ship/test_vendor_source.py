"""vendor --source: forge_min in a project's _vendor/, as it runs, and never over an edit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import forge_min
import pytest
from forge_min.errors import BuildError
from forge_min.manifest import read_members
from forge_min.ship import copy_source
from forge_min.ship.artifact import package
from forge_min.ship.vendor import wheel as own

COPIES = """
import sys, forge_min.cli, forge_min.ship, forge_min.fanout
files = {m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] == "forge_min"}
print(forge_min.fanout.IMPL, *sorted({f.rpartition("/forge_min/")[0] for f in files if f}))
"""


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    """A project's _vendor/ with the copy, and something else in it."""
    (tmp_path / "_vendor").mkdir()
    (tmp_path / "_vendor" / "mine.py").write_text("mine = 1\n")
    assert copy_source(tmp_path) == tmp_path / "_vendor" / "forge_min"
    return tmp_path / "_vendor"


def test_the_copy_runs_by_itself_with_the_core_of_this_machine(vendor: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-S", "-c", COPIES],
        cwd=vendor.parent,
        env={"PATH": os.defpath, "PYTHONPATH": str(vendor)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split() == [forge_min.fanout.IMPL, str(vendor)]  # type: ignore[attr-defined]
    assert (vendor / "mine.py").is_file()


def test_copying_again_changes_nothing(vendor: Path) -> None:
    before = read_members(vendor)
    copy_source(vendor.parent)
    assert read_members(vendor) == before


def edit(package: Path) -> None:
    with open(package / "cli.py", "a") as file:
        file.write("# mine\n")


def add(package: Path) -> None:
    (package / "mine.py").write_text("")


def remove(package: Path) -> None:
    (package / "cli.py").unlink()


def forget_where_it_came_from(package: Path) -> None:
    (info,) = package.parent.glob("forge_min-*.dist-info")
    (info / "RECORD").unlink()


@pytest.mark.parametrize("spoil", [edit, add, remove, forget_where_it_came_from])
def test_an_edited_copy_stays_unless_it_is_forced(vendor: Path, spoil: object) -> None:
    whole = read_members(vendor)
    spoil(vendor / "forge_min")  # type: ignore[operator]
    edited = read_members(vendor)
    with pytest.raises(BuildError, match="was edited") as caught:
        copy_source(vendor.parent)
    assert caught.value.code == "F360"
    assert read_members(vendor) == edited
    copy_source(vendor.parent, force=True)
    assert read_members(vendor) == whole


def test_another_version_leaves_nothing_of_the_last_one(
    vendor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (info,) = vendor.glob("forge_min-*.dist-info")
    older = vendor / "forge_min-0.0.1.dist-info"
    record = (info / "RECORD").read_text().replace(info.name, older.name)
    info.rename(older)
    (older / "RECORD").write_text(record)
    copy_source(vendor.parent)
    assert [path.name for path in vendor.glob("*.dist-info")] == [info.name]


def test_the_copy_that_runs_is_not_replaced_by_itself(
    vendor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "package_root", lambda: vendor / "forge_min")
    with pytest.raises(BuildError, match="is the running forge_min"):
        copy_source(vendor.parent)


def test_metadata_of_another_version_is_no_wheel_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own, "__version__", "99")
    with pytest.raises(BuildError, match="forge-min==99 is installed as") as caught:
        own.own_wheels()
    assert caught.value.code == "F341"
