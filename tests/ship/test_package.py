"""forge_min's own files in a build: as they were installed, and as the wheelhouse has them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.ship import pipeline
from forge_min.ship.artifact.distributions import BASE, DRIVERS, collect
from forge_min.ship.artifact.package import package_files, package_members, package_root
from forge_min.ship.vendor.wheel import PURE, Wheel, own_wheels, pack, repack
from forge_min.ship.vendor.wheelhouse import read_wheelhouse

from building import build
from ship.test_vendor_wheelhouse import fill
from wheels import install, make_wheel


@pytest.fixture(scope="module")
def wheel() -> Wheel:
    """forge_min's own, with a core where one is compiled here."""
    return own_wheels()[-1]


@pytest.fixture
def installed(wheel: Wheel, tmp_path: Path) -> Path:
    """The package where an installer put it."""
    install(wheel, tmp_path / "site-packages")
    return tmp_path / "site-packages" / "forge_min"


def test_an_installed_package_has_the_files_of_its_wheel(installed: Path) -> None:
    assert package_files(installed) == package_files(package_root())


@pytest.mark.parametrize("name", ["entry.py", "ship/artifact/boot.py", "db/errors.toml"])
def test_an_installed_file_that_was_altered_is_named(installed: Path, name: str) -> None:
    with open(installed / name, "a") as file:
        file.write("\n# more\n")
    with pytest.raises(BuildError, match=f"forge_min/{name} of the distribution forge-min") as it:
        package_files(installed)
    assert it.value.code == "F342"


def test_an_installed_file_that_is_missing_is_named(installed: Path) -> None:
    (installed / "entry.py").unlink()
    with pytest.raises(BuildError, match=r"forge_min/entry\.py") as caught:
        package_files(installed)
    assert caught.value.code == "F341"


def test_a_file_that_was_added_to_an_installed_package_does_not_go_in(installed: Path) -> None:
    before = package_members(package_files(installed))
    (installed / "app" / "more.py").write_text("print('more')\n")
    (installed / "_fanout.abi3.so").touch()
    assert package_members(package_files(installed)) == before


def test_an_installed_package_whose_record_is_gone_is_an_error(installed: Path) -> None:
    (record,) = installed.parent.glob("forge_min-*.dist-info/RECORD")
    record.unlink()
    with pytest.raises(BuildError, match="has no RECORD") as caught:
        package_files(installed)
    assert caught.value.code == "F341"


def test_a_checkout_goes_in_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "forge_min").mkdir()
    (tmp_path / "forge_min" / "entry.py").write_text("# mine\n")
    (tmp_path / "forge_min.egg-info").mkdir()
    assert package_files(tmp_path / "forge_min") == {"forge_min/entry.py": b"# mine\n"}


def test_a_copy_in_a_project_may_be_edited(installed: Path) -> None:
    copy = Path(shutil.copytree(installed.parent, installed.parents[1] / "_vendor")) / "forge_min"
    (copy / "entry.py").write_text("# mine\n")
    assert package_files(copy)["forge_min/entry.py"] == b"# mine\n"


def check(vendor: Path) -> None:
    """Raises as a build with this vendor folder."""
    house = read_wheelhouse(vendor)
    assert house is not None
    house.check_package(package_files(package_root()))


def test_what_runs_is_what_the_locked_wheel_holds(wheel: Wheel, tmp_path: Path) -> None:
    fill(tmp_path, *own_wheels())
    check(tmp_path / "vendor")


@pytest.mark.parametrize("change", ["altered", "added", "removed"])
def test_what_runs_and_is_not_in_the_locked_wheel_is_named(tmp_path: Path, change: str) -> None:
    files = package_files(package_root())
    name = "aaa.py" if change == "removed" else "entry.py"
    if change == "added":
        del files["forge_min/entry.py"]
    else:
        files[f"forge_min/{name}"] = b"# other\n"
    info = "forge_min-1.dist-info/METADATA"
    fill(tmp_path, pack("forge-min", "1", [PURE], {**files, info: b"Name: forge-min\nVersion: 1"}))
    with pytest.raises(BuildError, match=f"forge_min/{name} of the running forge_min") as caught:
        check(tmp_path / "vendor")
    assert caught.value.code == "F342"


def test_a_wheelhouse_without_forge_min_builds_nothing(tmp_path: Path) -> None:
    fill(tmp_path, make_wheel())
    with pytest.raises(BuildError, match="no wheel of forge-min") as caught:
        check(tmp_path / "vendor")
    assert caught.value.code == "F341"


@pytest.mark.thorough
@pytest.mark.slow
def test_a_build_takes_no_altered_installation(
    project: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "package_root", lambda: installed)
    build(project)
    (installed / "entry.py").write_text("print('BACKDOOR')\n")
    with pytest.raises(BuildError, match=r"forge_min/entry\.py") as caught:
        build(project)
    assert caught.value.code == "F342"


@pytest.mark.thorough
@pytest.mark.slow
def test_a_folder_takes_the_driver_that_the_wheelhouse_has(project: Path) -> None:
    names = [*BASE, DRIVERS["binary"]]
    found = [repack(dist) for dist in collect(names)]
    fill(project, *found, *own_wheels())
    assert build(project, format="dir").info["driver"] == "binary"
