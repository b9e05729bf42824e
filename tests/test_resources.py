"""Data files of packages read alike from folders and from artifacts."""

from __future__ import annotations

import importlib
import json
import os
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from forge_min.resources import JSON, ArchivePath, files, table
from forge_min.ship.artifact.package import package_files, package_members, package_root

FILES = {
    "packed_pkg/__init__.py": b"",
    "packed_pkg/table.toml": b"a = 1\r\nb = 2\n",
    "packed_pkg/deep/er/x.bin": bytes(range(256)),
    "packed_pkg/sub/__init__.py": b"",
    "packed_pkg/sub/own.txt": "ü".encode(),
    "top.txt": b"top",
}


@pytest.fixture(params=["folder", "artifact"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / request.param
    if request.param == "folder":
        for name, data in FILES.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
    else:
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in FILES.items():
                archive.writestr(name, data)
    sys.path.insert(0, str(place))
    importlib.invalidate_caches()
    yield place
    sys.path.remove(str(place))
    for name in [name for name in sys.modules if name.startswith("packed_pkg")]:
        del sys.modules[name]


def test_files_are_read_as_they_are(place: Path) -> None:
    root = files("packed_pkg")
    assert (root / "table.toml").read_bytes() == FILES["packed_pkg/table.toml"]
    assert (root / "table.toml").read_text("utf-8") == "a = 1\nb = 2\n"
    with root.joinpath("deep", "er", "x.bin").open("rb") as stream:
        assert stream.read() == bytes(range(256))
    assert files("packed_pkg.sub").joinpath("own.txt").read_text("utf-8") == "ü"


def test_what_there_is_can_be_asked(place: Path) -> None:
    root = files("packed_pkg")
    assert sorted(each.name for each in root.iterdir() if each.name != "__pycache__") == [
        "__init__.py", "deep", "sub", "table.toml",
    ]  # fmt: skip
    assert (root / "deep").is_dir() and not (root / "deep").is_file()
    assert (root / "table.toml").is_file() and not (root / "table.toml").is_dir()
    assert not (root / "tab").is_dir() and not (root / "nothing").is_file()
    assert [each.name for each in (root / "deep" / "er").iterdir()] == ["x.bin"]
    with pytest.raises(FileNotFoundError):
        (root / "nothing").read_bytes()
    with pytest.raises(FileNotFoundError):
        (root / "deep" / ".." / "nothing").read_bytes()


def test_a_package_that_is_not_there_is_an_import_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        files("packed_nothing")


def test_an_artifacts_root_and_name_are_known(tmp_path: Path) -> None:
    path = tmp_path / "a.pyz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    sys.path.insert(0, str(path))
    try:
        found = files("packed_pkg")
        assert isinstance(found, ArchivePath)
        assert found.archive == str(path) and (found.parent / "top.txt").read_bytes() == b"top"
        assert str(found / "table.toml") == os.path.join(path, "packed_pkg", "table.toml")
        child = os.fork()
        if not child:
            os._exit(found.joinpath("table.toml").read_bytes() != FILES["packed_pkg/table.toml"])
        assert os.waitpid(child, 0)[1] == 0
    finally:
        sys.path.remove(str(path))
        sys.modules.pop("packed_pkg", None)


def test_an_artifact_has_each_table_as_json_too_and_it_says_the_same() -> None:
    members = package_members(package_files(package_root()))
    tables = [name for name in members if name.endswith(".toml")]
    assert len(tables) > 5
    for name in tables:
        assert json.loads(members[name + JSON]) == tomllib.loads(members[name].decode())


def test_a_table_is_the_same_from_folder_and_artifact(place: Path) -> None:
    assert table("packed_pkg", "table.toml") == {"a": 1, "b": 2}
    with pytest.raises(FileNotFoundError):
        table("packed_pkg", "nothing.toml")
