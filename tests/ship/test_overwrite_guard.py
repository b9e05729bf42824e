"""What a command may replace: its own, whatever became of it, and nothing of anybody else's."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.manifest import INFO, NAME, Manifest
from forge_min.ship.artifact.archive import (
    CHECKSUMS,
    check_file,
    check_folder,
    write_folder,
    write_zipapp,
)

MEMBERS = {"__main__.py": b"", "deep/a.py": b"a = 1\n", INFO: b"{}"}
MEMBERS[NAME] = Manifest.of(MEMBERS).write().encode()


def refused(path: Path, why: str, root: Path = Path("/nowhere"), listing: str = NAME) -> None:
    """Nobody is told that it may be replaced."""
    with pytest.raises(BuildError, match="was not made by this command") as caught:
        check_file(path) if path.suffix else check_folder(path, root, listing)
    assert caught.value.code == "F360" and why in caught.value.message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(MEMBERS, tmp_path / "x")
    check_folder(tmp_path / "x", Path("/nowhere"))
    return tmp_path / "x"


def test_what_is_not_there_or_empty_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.pyz").touch()
    for name in ("empty", "new"):
        check_folder(tmp_path / name, Path("/nowhere"))
        check_file(tmp_path / f"{name}.pyz")


def test_a_folder_of_ours_may_be_replaced_even_if_it_is_damaged(folder: Path) -> None:
    (folder / "deep" / "a.py").write_text("altered")
    (folder / "__main__.py").unlink()
    check_folder(folder, Path("/nowhere"))


ADDED: list[Callable[[Path], object]] = [
    lambda path: path.write_text("precious"),
    lambda path: path.symlink_to("/"),
    os.mkfifo,
]


@pytest.mark.parametrize("add", ADDED)
@pytest.mark.parametrize("name", ["notes.txt", "deep/notes.txt"])
def test_one_file_of_somebody_else_keeps_the_folder(
    folder: Path, add: Callable[[Path], object], name: str
) -> None:
    add(folder / name)
    refused(folder, f"it contains {name}")


def test_one_file_that_folders_of_ours_have_does_not_make_a_folder_ours(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for name in (INFO, "requirements.lock", "notes.txt"):
        (site / name).write_text("{}")
    refused(site, f"it contains {INFO}, notes.txt, requirements.lock")
    refused(site, "it contains", listing=CHECKSUMS)
    (site / NAME).write_text("nonsense")
    refused(site, "it contains")


def test_a_vendor_folder_is_known_by_its_sums(tmp_path: Path) -> None:
    members = {"wheelhouse/a.whl": b"", "install.sh": b""}
    write_folder({**members, CHECKSUMS: Manifest.of(members).write().encode()}, tmp_path / "vendor")
    check_folder(tmp_path / "vendor", tmp_path, CHECKSUMS)
    (tmp_path / "vendor" / "NOTES.txt").write_text("mine")
    refused(tmp_path / "vendor", "it contains NOTES.txt", listing=CHECKSUMS)


def test_the_project_is_not_replaced_even_if_all_of_it_is_listed(folder: Path) -> None:
    inside = folder / "deep" / "shop"
    inside.mkdir()
    (inside / "app.py").touch()
    members = {path.relative_to(folder).as_posix(): b"" for path in folder.rglob("*.*")}
    (folder / NAME).write_text(Manifest.of(members).write())
    for root in (folder, inside, folder / ".." / "x"):
        refused(folder, "it contains the project", root)


def test_a_file_is_no_folder_and_a_folder_no_file(folder: Path) -> None:
    (folder.parent / "y").write_text("a file")
    (folder.parent / "y.pyz").mkdir()
    refused(folder.parent / "y", "it is not a folder")
    refused(folder.parent / "y.pyz", "it is not a file")


def other_zipapp(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("__main__.py", "")


FOREIGN: list[Callable[[Path], object]] = [
    lambda path: path.write_text("#!/usr/bin/env python3\nprint('mine')\n"),
    lambda path: path.write_text("x"),
    lambda path: zipfile.ZipFile(path, "w").writestr("build-info.json", ""),
    other_zipapp,
    os.mkfifo,
    lambda path: path.symlink_to("/nowhere"),
]


@pytest.mark.parametrize("make", FOREIGN)
def test_a_file_that_no_build_made_is_left_alone(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "app.py")
    refused(tmp_path / "app.py", "it is")


def test_an_artifact_or_what_is_left_of_one_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.pyz"
    write_zipapp(MEMBERS, path)
    check_file(path)
    os.truncate(path, path.stat().st_size // 2)
    check_file(path)
