"""A wheel: made, read, made again from what it installed; which ones fit this machine."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution
from pathlib import Path

import forge_min
import pytest
from forge_min.errors import BuildError
from forge_min.ship.artifact import package
from forge_min.ship.artifact.distributions import recorded_files
from forge_min.ship.vendor import wheel as wheels
from forge_min.ship.vendor.sbom import licence_of, licence_texts
from forge_min.ship.vendor.wheel import Wheel, other_wheels, own_wheels, repack
from forge_min.ship.vendor.wheelhouse import Wheelhouse

from wheels import install, make_wheel

MACHINE = platform.machine()
NATIVE = f"cp3{sys.version_info.minor}"


def test_a_wheel_that_was_made_is_one_that_pip_installs(tmp_path: Path) -> None:
    wheel = make_wheel(files={"made-data/a,b.txt": b"text"})
    (tmp_path / wheel.file).write_bytes(wheel.data)
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "-q", "--target"]
    subprocess.run([*pip, tmp_path / "site", tmp_path / wheel.file], check=True)
    assert (tmp_path / "site/made.py").read_bytes() == b"x = 1\n"
    assert (tmp_path / "site/made-data/a,b.txt").read_bytes() == b"text"


def test_the_same_files_give_the_same_wheel() -> None:
    one = make_wheel(files={"a.txt": b"a", "b.txt": b"b"})
    assert one == make_wheel(files={"b.txt": b"b", "a.txt": b"a"})


def test_what_was_installed_gives_the_wheel_that_it_came_from(tmp_path: Path) -> None:
    wheel = make_wheel("some_thing", "1.0", f"{NATIVE}-abi3-linux_x", f"{NATIVE}-abi3-linux_y")
    assert wheel.file == f"some_thing-1.0-{NATIVE}-abi3-linux_x.linux_y.whl"
    assert repack(install(wheel, tmp_path)) == wheel


def test_a_changed_installed_file_is_never_packed(tmp_path: Path) -> None:
    dist = install(make_wheel(), tmp_path)
    (tmp_path / "made.py").write_bytes(b"x = 2\n")
    with pytest.raises(BuildError, match="made.py of the distribution made") as caught:
        repack(dist)
    assert caught.value.code == "F342"


@pytest.mark.parametrize("name", ["made.whl", "made-1.0.whl", "made-1.0-py3-none-any.zip"])
def test_a_file_that_is_not_named_like_a_wheel_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(BuildError, match=re.escape(name)) as caught:
        Wheel.read(tmp_path / name)
    assert caught.value.code == "F371"


@pytest.mark.parametrize("data", [b"", b"PK\5\6" + bytes(18), b"not a zip"])
def test_a_wheel_without_a_distribution_is_named(data: bytes) -> None:
    with pytest.raises(BuildError, match="made-1.0-py3-none-any.whl is not a wheel"):
        Wheel("made-1.0-py3-none-any.whl", data).distribution()


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("py2-none-any", False),
        (f"{NATIVE}-{NATIVE}-manylinux_2_17_{MACHINE}", True),
        (f"{NATIVE}-{NATIVE}-manylinux2014_{MACHINE}.manylinux_2_17_{MACHINE}", True),
        (f"{NATIVE}-{NATIVE}-linux_{MACHINE}", True),
        (f"{NATIVE}-{NATIVE}-musllinux_1_2_{MACHINE}", False),
        (f"{NATIVE}-{NATIVE}-manylinux_2_17_s390x", False),
        (f"{NATIVE}-{NATIVE}-win_amd64", False),
        (f"cp38-abi3-manylinux_2_17_{MACHINE}", True),
        (f"cp399-abi3-manylinux_2_17_{MACHINE}", False),
        (f"cp38-cp38-manylinux_2_17_{MACHINE}", False),
        (f"{NATIVE}-{NATIVE}t-manylinux_2_17_{MACHINE}", False),
    ],
)
def test_a_wheel_fits_by_its_tags(
    monkeypatch: pytest.MonkeyPatch, tag: str, expected: bool
) -> None:
    monkeypatch.setattr(wheels, "is_musl", lambda: False)
    assert wheels.fits(Wheel(f"made-1.0-{tag}.whl", b"")) is expected


def test_on_musl_only_wheels_for_musl_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "is_musl", lambda: True)
    assert wheels.fits(Wheel(f"made-1.0-{NATIVE}-{NATIVE}-musllinux_1_2_{MACHINE}.whl", b""))
    assert not wheels.fits(Wheel(f"made-1.0-{NATIVE}-{NATIVE}-manylinux_2_5_{MACHINE}.whl", b""))


def test_a_core_is_tagged_by_the_oldest_glibc_that_has_its_symbols(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wheels, "is_musl", lambda: False)
    data = b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.17\0"
    tag = wheels.compiled_tag("_fanout.cpython.so", data)
    assert tag == f"{NATIVE}-{NATIVE}-manylinux_2_34_{MACHINE}"
    stable = wheels.compiled_tag("_fanout.abi3.so", b"")
    assert stable == f"cp311-abi3-manylinux_2_17_{MACHINE}"


def test_our_pure_wheel_fits_any_machine_and_holds_no_compiled_part() -> None:
    pure = own_wheels()[0]
    assert pure.file.endswith("-py3-none-any.whl")
    dist = pure.distribution()
    names = {str(file) for file in dist.files or ()}
    assert {"forge_min/py.typed", "forge_min/_fanout.pyx", "forge_min/codes.toml"} <= names
    assert not [n for n in names if n.endswith((".so", ".c", ".pyc")) or "__pycache__" in n]
    assert dist.entry_points.select(name="forge-min")
    assert licence_texts(dist).keys() == {f"licenses/forge-min-{dist.version}/LICENSE"}


def test_a_wheel_of_ours_from_another_machine_is_taken_and_no_other(tmp_path: Path) -> None:
    made = make_wheel("forge_min", forge_min.__version__, "cp313-cp313-musllinux_1_2_x86_64")
    older, other = make_wheel("forge_min", "0.0.1"), make_wheel()
    for wheel in (made, older, other):
        (tmp_path / wheel.file).write_bytes(wheel.data)
    assert other_wheels([tmp_path / made.file]) == [made]
    for wheel in (older, other):
        with pytest.raises(BuildError, match=re.escape(wheel.file)) as caught:
            other_wheels([tmp_path / wheel.file])
        assert caught.value.code == "F371"


def test_the_wheel_with_the_core_is_that_one_and_the_core() -> None:
    pure, *compiled = own_wheels()
    for wheel in compiled:
        names = {str(f) for f in wheel.distribution().files or ()}
        (core,) = names - {str(f) for f in pure.distribution().files or ()}
        assert core.startswith("forge_min/_fanout.") and wheels.fits(wheel)


def test_of_a_checkouts_cores_the_one_that_runs_gets_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "forge_min"
    shutil.copytree(package.package_root(), root, ignore=shutil.ignore_patterns("*.so", "*.pyc"))
    monkeypatch.setattr(package, "package_root", lambda: root)
    native, stable = (f"_fanout{suffix}" for suffix in EXTENSION_SUFFIXES[:2])
    (root / native).write_bytes(b"for this Python")
    (root / stable).write_bytes(b"for any")
    pure, last = own_wheels()
    assert "-py3-none-any" in pure.file
    assert f"-{NATIVE}-{NATIVE}-" in last.file
    own = {wheel.file: {str(f) for f in wheel.distribution().files or ()} for wheel in (pure, last)}
    assert own[last.file] - own[pure.file] == {f"forge_min/{native}"}
    # The build takes the one that Python loads, and compares with the wheel that pip would take.
    files = package.package_files(root)
    assert f"forge_min/{stable}" not in files
    house = Wheelhouse(tmp_path / "requirements.lock", {}, (pure, last))
    house.check_package(files)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("License-Expression: MIT OR Apache-2.0\n", "MIT OR Apache-2.0"),
        (f"License-Expression: {' OR '.join(['MIT'] * 40)}\n", " OR ".join(["MIT"] * 40)),
        ("License: BSD\n", "BSD"),
        ("Classifier: License :: OSI Approved :: MIT License\n", "MIT License"),
        (f"License: {'words ' * 40}\nClassifier: License :: OSI Approved :: X\n", "X"),
        ("", ""),
    ],
)
def test_a_licence_is_named_as_its_author_does(metadata: str, expected: str) -> None:
    assert licence_of(make_wheel(metadata=metadata).distribution()) == expected


def test_texts_of_licences_are_found_in_the_metadata_alone() -> None:
    info = "made-1.0.dist-info"
    files = {f"{info}/licenses/LICENSE": b"a", f"{info}/licenses/x/y.txt": b"b"}
    files |= {f"{info}/NOTICE": b"c", "made_data/LICENSE": b"d", f"{info}/top_level.txt": b"e"}
    texts = licence_texts(make_wheel(files=files).distribution())
    folder = "licenses/made-1.0"
    assert texts == {f"{folder}/LICENSE": b"a", f"{folder}/x/y.txt": b"b", f"{folder}/NOTICE": b"c"}


def test_a_wheel_is_read_as_its_installed_files_are(tmp_path: Path) -> None:
    dist = Distribution.from_name("typing-extensions")
    wheel = repack(dist)
    (tmp_path / wheel.file).write_bytes(wheel.data)
    again = Wheel.read(tmp_path / wheel.file)
    assert (again.name, again.version) == ("typing-extensions", dist.version)
    files = recorded_files(again.distribution(), lambda path: path.suffix == ".py")
    installed = Path(str(dist.locate_file("typing_extensions.py"))).read_bytes()
    assert files == {"typing_extensions.py": installed}
    assert zipfile.ZipFile(tmp_path / wheel.file).testzip() is None
