"""The lock, and the wheelhouse that a build takes its wheels from."""

from __future__ import annotations

import platform
import re
import sys
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.ship.artifact.distributions import collect as installed
from forge_min.ship.vendor.wheel import Wheel
from forge_min.ship.vendor.wheelhouse import read_lock, read_wheelhouse, write_lock

from building import build
from wheels import alter, make_wheel


def fill(root: Path, *wheels: Wheel) -> Path:
    """A project's vendor/ with these; gives the folder of the wheels."""
    folder = root / "vendor" / "wheelhouse"
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        (folder / wheel.file).write_bytes(wheel.data)
    (root / "vendor" / "requirements.lock").write_text(write_lock(wheels, "CPython 3"))
    return folder


def collect(root: Path, names: list[str]) -> list[Distribution]:
    """What a build of the project takes."""
    house = read_wheelhouse(root / "vendor")
    return installed(names, house.find) if house else installed(names)


def test_the_lock_has_one_requirement_with_the_hash_of_each_wheel() -> None:
    pure, compiled = make_wheel(), make_wheel("made", "1.0", "cp313-abi3-manylinux_2_17_x86_64")
    other = make_wheel("An.Other", "2.0")
    text = write_lock([compiled, other, pure], "CPython 3.13")
    assert text == (
        "# CPython 3.13\n"
        f"an-other==2.0 \\\n    --hash=sha256:{other.digest}\n"
        f"made==1.0 \\\n    --hash=sha256:{compiled.digest} \\\n    --hash=sha256:{pure.digest}\n"
    )
    pinned = {("an-other", "2.0"): {other.digest}, ("made", "1.0"): {pure.digest, compiled.digest}}
    assert read_lock(text) == pinned


def test_the_lock_of_another_tool_is_read_too() -> None:
    digest = "0" * 64
    text = f"# by x\n-i y\nA_b==1 ; python_version < '4' \\\n  --hash=sha256:{digest}\n  # via c\n"
    assert read_lock(text) == {("a-b", "1"): {digest}}


def test_without_a_wheelhouse_what_is_installed_is_taken(tmp_path: Path) -> None:
    names = [dist.name for dist in installed(["psycopg"])]
    assert [dist.name for dist in collect(tmp_path, ["psycopg"])] == names


def test_with_a_wheelhouse_nothing_else_is_taken(tmp_path: Path) -> None:
    fill(tmp_path, make_wheel("psycopg", "9.9", metadata="Requires-Dist: made>=1\n"), make_wheel())
    found = collect(tmp_path, ["psycopg"])
    assert [(dist.name, dist.version) for dist in found] == [("made", "1.0"), ("psycopg", "9.9")]


def test_the_wheel_for_this_machine_comes_before_the_pure_one(tmp_path: Path) -> None:
    native = f"cp3{sys.version_info.minor}"
    tag = f"{native}-{native}-linux_{platform.machine()}"
    fill(tmp_path, make_wheel(), make_wheel("made", "1.0", tag, files={"compiled.so": b""}))
    (dist,) = collect(tmp_path, ["made"])
    assert "compiled.so" in [str(file) for file in dist.files or ()]


def test_a_missing_requirement_is_named(tmp_path: Path) -> None:
    fill(tmp_path, make_wheel(metadata="Requires-Dist: psycopg\n"))
    with pytest.raises(BuildError, match="no wheel of psycopg for") as caught:
        collect(tmp_path, ["made"])
    assert caught.value.code == "F341"


def test_a_wheel_that_differs_from_the_lock_is_named_whoever_needs_it(tmp_path: Path) -> None:
    other = make_wheel("other", "1.0", "cp38-cp38-win_amd64")
    alter(fill(tmp_path, make_wheel(), other) / other.file)
    with pytest.raises(BuildError, match=re.escape(other.file)) as caught:
        collect(tmp_path, ["made"])
    assert caught.value.code == "F371"


def test_a_wheel_that_was_added_is_named(tmp_path: Path) -> None:
    added = make_wheel("added", "1.0")
    (fill(tmp_path, make_wheel()) / added.file).write_bytes(added.data)
    with pytest.raises(BuildError, match=re.escape(added.file)):
        collect(tmp_path, ["made"])


def test_a_wheel_under_the_name_of_another_is_named(tmp_path: Path) -> None:
    wheel = make_wheel()
    folder = fill(tmp_path, wheel)
    (folder / wheel.file).rename(folder / wheel.file.replace("made", "psycopg"))
    with pytest.raises(BuildError, match="psycopg-1.0-py3-none-any.whl"):
        collect(tmp_path, ["psycopg"])


@pytest.mark.thorough
def test_a_build_stops_and_leaves_what_was_built(project: Path) -> None:
    wheel = make_wheel()
    old = build(project, offline=True).path
    before = old.read_bytes()
    alter(fill(project, wheel) / wheel.file)
    with pytest.raises(BuildError, match=re.escape(wheel.file)):
        build(project, offline=True)
    assert old.read_bytes() == before


def test_wheels_whose_lock_is_gone_are_an_error_and_not_passed_over(tmp_path: Path) -> None:
    (fill(tmp_path, make_wheel("psycopg")).parent / "requirements.lock").unlink()
    with pytest.raises(BuildError, match=r"requirements\.lock") as caught:
        collect(tmp_path, ["psycopg"])
    assert caught.value.code == "F371"


def test_a_folder_named_vendor_that_is_none_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "vendor" / "theirs").mkdir(parents=True)
    assert read_wheelhouse(tmp_path / "vendor") is None


def test_a_lock_that_is_no_text_is_one_error(tmp_path: Path) -> None:
    lock = fill(tmp_path, make_wheel()).parent / "requirements.lock"
    lock.write_bytes(lock.read_bytes() + b"# \xff\n")
    with pytest.raises(BuildError, match="utf-8") as caught:
        collect(tmp_path, ["made"])
    assert caught.value.code == "F371"


@pytest.mark.parametrize("name", ["x.WHL", "made-2.0-py3-none-any.whl", "notes.txt"])
@pytest.mark.parametrize("folder", [False, True])
def test_what_is_no_wheel_among_them_is_named(tmp_path: Path, name: str, folder: bool) -> None:
    path = fill(tmp_path, make_wheel()) / name
    path.mkdir() if folder else path.touch()
    with pytest.raises(BuildError, match=re.escape(name)) as caught:
        collect(tmp_path, ["made"])
    assert caught.value.code == "F371"
