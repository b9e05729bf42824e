"""Artifacts on disk: the same bytes for the same members, and whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.manifest import INFO, read_members
from forge_min.ship.artifact.archive import (
    checksum_name,
    read_checksums,
    write_checksums,
    write_folder,
    write_zipapp,
)

MEMBERS = {
    "__main__.py": b"import space.inner.x as x; print(x.y)\n",
    "space/inner/x.py": b"y = 'found'\n",
    "build-info.json": b"{}",
}


def test_a_zip_is_the_same_in_any_order_and_folder(tmp_path: Path) -> None:
    write_zipapp(MEMBERS, tmp_path / "a" / "x.pyz")
    write_zipapp(dict(reversed(MEMBERS.items())), tmp_path / "b" / "y.pyz")
    assert (tmp_path / "a/x.pyz").read_bytes() == (tmp_path / "b/y.pyz").read_bytes()


def test_a_zip_runs_and_finds_namespace_packages(tmp_path: Path) -> None:
    write_zipapp(MEMBERS, tmp_path / "x.pyz")
    assert os.access(tmp_path / "x.pyz", os.X_OK)
    shown = subprocess.run([sys.executable, tmp_path / "x.pyz"], capture_output=True, check=True)
    assert shown.stdout == b"found\n"


def test_a_zip_lists_folders_and_sorts_its_entries(tmp_path: Path) -> None:
    write_zipapp(MEMBERS, tmp_path / "x.pyz")
    with zipfile.ZipFile(tmp_path / "x.pyz") as archive:
        names = archive.namelist()
        times = {entry.date_time for entry in archive.infolist()}
    assert names == sorted(names)
    assert {"space/", "space/inner/"} <= set(names)
    assert times == {(1980, 1, 1, 0, 0, 0)}


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    write_folder({**MEMBERS, "old.py": b""}, tmp_path / "x")
    write_folder(MEMBERS, tmp_path / "x")
    found = {p.relative_to(tmp_path / "x").as_posix() for p in (tmp_path / "x").rglob("*.*")}
    assert found == set(MEMBERS)
    assert os.listdir(tmp_path) == ["x"]


def test_a_failing_write_leaves_the_old_artifact_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_zipapp(MEMBERS, tmp_path / "x.pyz")
    before = (tmp_path / "x.pyz").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(BuildError, match="No space left") as caught:
        write_zipapp({**MEMBERS, "new.py": b""}, tmp_path / "x.pyz")
    assert caught.value.code == "F002"
    assert (tmp_path / "x.pyz").read_bytes() == before
    assert os.listdir(tmp_path) == ["x.pyz"]


KILLED = """
import os, signal, sys, zipfile
from pathlib import Path
from forge_min.ship.artifact.archive import write_zipapp
real = zipfile.ZipFile.writestr
def stop(self, entry, data):
    real(self, entry, data)
    if entry.filename == "m050":
        os.kill(os.getpid(), signal.SIGKILL)
zipfile.ZipFile.writestr = stop
write_zipapp({f"m{n:03}": os.urandom(1000) for n in range(100)}, Path(sys.argv[1]))
"""


def test_a_killed_build_leaves_the_old_artifact_and_the_next_one_tidies(tmp_path: Path) -> None:
    path = tmp_path / "x.pyz"
    write_zipapp(MEMBERS, path)
    before = path.read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert len(os.listdir(tmp_path)) == 2
    write_zipapp(MEMBERS, path)
    assert os.listdir(tmp_path) == ["x.pyz"]


def test_a_place_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError) as caught:
        write_zipapp(MEMBERS, tmp_path / "file" / "x.pyz")
    assert caught.value.code == "F002"


def test_sums_are_those_of_sha256sum_and_keep_other_artifacts(tmp_path: Path) -> None:
    for name in ("b.pyz", "a.pyz"):
        write_zipapp(MEMBERS, tmp_path / name)
        write_checksums(tmp_path / name)
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path, check=True)
    assert len((tmp_path / "SHA256SUMS").read_text().splitlines()) == 2
    (tmp_path / "b.pyz").unlink()
    write_checksums(tmp_path / "a.pyz")
    assert len((tmp_path / "SHA256SUMS").read_text().splitlines()) == 1


def test_the_artifact_can_be_read_by_others_than_its_builder(tmp_path: Path) -> None:
    write_folder(MEMBERS, tmp_path / "x")
    mode = stat.S_IMODE((tmp_path / "x").stat().st_mode)
    umask = os.umask(0o022)
    os.umask(umask)
    assert mode == 0o777 & ~umask


@pytest.mark.parametrize("name", ["/nowhere/away.pyc", "../away", "a/../../away", "a/.."])
def test_a_name_that_leads_outside_is_written_by_neither(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep" / "here"
    for write in (write_zipapp, write_folder):
        write(MEMBERS, folder / "x")
        before = read_members(folder / "x")
        with pytest.raises(BuildError, match=re.escape(repr(name))) as caught:
            write({**MEMBERS, name: b""}, folder / "x")
        assert caught.value.code == "F343"
        assert read_members(folder / "x") == before and os.listdir(folder) == ["x"]
        assert os.listdir(tmp_path / "deep") == ["here"]
        (shutil.rmtree if (folder / "x").is_dir() else os.unlink)(folder / "x")


@pytest.mark.parametrize(("write", "name"), [(write_zipapp, "x.pyz"), (write_folder, "x")])
def test_the_sums_of_an_artifact_that_was_replaced_are_the_new_ones(
    tmp_path: Path, write: Callable[..., None], name: str
) -> None:
    path = tmp_path / name
    (tmp_path / "other").write_bytes(b"")
    other = f"{sha256(b'').hexdigest()}  other\n"
    (tmp_path / "SHA256SUMS").write_text(other)
    for info in (b"{}", b"[]"):
        write({**MEMBERS, INFO: info}, path)
        write_checksums(path)
    digest = sha256((path / INFO if path.is_dir() else path).read_bytes()).hexdigest()
    assert read_checksums(path.parent / "SHA256SUMS")[checksum_name(path)] == digest
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines(keepends=True)
    assert sorted(lines) == sorted([other, f"{digest}  {checksum_name(path)}\n"])
