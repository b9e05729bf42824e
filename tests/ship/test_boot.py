"""The artifact's `__main__`: the machine, places for compiled parts, and all ways to lose them."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from forge_min.manifest import Manifest
from forge_min.ship.artifact import boot

UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH
CONTENT = {
    "_native/a/core.so": b"\x7fELF",
    "_native/a/__init__.py": b"",
    "_native/forge_min/core.so": b"\x7fELF",
}
FILES, DIGEST = dict(Manifest.of(CONTENT).hashes), Manifest.of(CONTENT).digest


def unpack(place: Path) -> Path:
    """The files into the place; the folder that has them."""
    folder = Path(boot.unpack_into(str(place), FILES, CONTENT.__getitem__))
    assert folder == place / DIGEST
    return folder


def test_another_python_is_told_which_one_is_right() -> None:
    info = {"suffix": ".cpython-311-x86_64-linux-gnu.so", "python": "3.11.7"}
    boot.check_machine(info, info["suffix"], "3.11.9")
    with pytest.raises(SystemExit) as caught:
        boot.check_machine(info, ".cpython-313-aarch64-linux-gnu.so", "3.13.0")
    assert str(caught.value.code).startswith("error[F350]: ")
    assert "python3.11" in str(caught.value.code)


def test_it_loads_on_every_python_that_is_here(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_bytes(Path(boot.__file__).read_bytes())
    info = '{"suffix": ".other.so", "python": "2.9.0"}'
    (tmp_path / "build-info.json").write_text(info)
    versions = [Path(sys.executable), *Path(sys.base_prefix).parent.glob("3*/bin/python3")]
    for python in versions:
        shown = subprocess.run([python, tmp_path], capture_output=True, text=True, check=False)
        assert shown.returncode == 1
        assert shown.stderr.startswith("error[F350]: this artifact was built for Python 2.9.0")
        assert len(shown.stderr.splitlines()) == 2


def test_parts_are_unpacked_once_and_privately(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        folder = unpack(tmp_path / "place")
    finally:
        os.umask(umask)
    inside = folder / "_native" / "a" / "core.so"
    assert inside.read_bytes() == b"\x7fELF"
    assert all(not path.stat().st_mode & 0o077 for path in (tmp_path / "place", folder, inside))
    first = inside.stat().st_ino
    assert unpack(tmp_path / "place") == folder
    assert inside.stat().st_ino == first
    assert os.listdir(tmp_path / "place") == [DIGEST]


def alter(path: Path) -> None:
    """Other bytes of the same number, and times as before, or newer where none can be set."""
    before = path.stat()
    path.write_bytes(b"EVIL")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(path.parents[2])


def link(path: Path) -> None:
    """The same bytes behind a link."""
    path.rename(path.parents[3] / "elsewhere")
    path.symlink_to(path.parents[3] / "elsewhere")


def link_folder(path: Path) -> None:
    """The folder of the file, behind a link."""
    path.parent.rename(path.parents[3] / "elsewhere")
    path.parent.symlink_to(path.parents[3] / "elsewhere")


HARMS = [
    Path.unlink,
    alter,
    link,
    link_folder,
    lambda path: path.write_bytes(b"shorter"),
    lambda path: (path.parents[1] / "json.py").write_bytes(b"print('planted')"),
    lambda path: (path.parent / "json.so").symlink_to("core.so"),
    lambda path: path.parents[2].chmod(0o755),
]


@pytest.mark.parametrize("harm", HARMS)
def test_a_folder_that_was_tampered_with_is_made_anew(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    folder = unpack(tmp_path / "place")
    harm(folder / "_native" / "a" / "core.so")
    assert not boot.is_whole(str(folder), FILES)
    assert unpack(tmp_path / "place") == folder
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if not p.is_dir()}
    assert {name: path.read_bytes() for name, path in found.items()} == CONTENT
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_parts_that_are_not_the_built_ones_are_never_unpacked(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        boot.unpack_into(str(tmp_path / "place"), FILES, lambda name: b"EVIL")
    assert str(caught.value.code).startswith("error[F380]: ")
    assert os.listdir(tmp_path / "place") == []


def test_many_at_once_get_one_whole_folder(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    folders: list[Path] = []

    def run() -> None:
        barrier.wait(10)
        folders.append(unpack(tmp_path / "place"))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(folders) == 8 and len(set(folders)) == 1
    assert boot.is_whole(str(folders[0]), FILES)
    assert os.listdir(tmp_path / "place") == [DIGEST]


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_place_that_others_may_enter_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place").chmod(mode)
    with pytest.raises(PermissionError):
        boot.check_private(str(tmp_path / "place"))


def test_a_place_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "place").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError):
        boot.check_private(str(tmp_path / "place"))


def test_a_place_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "place").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError):
        boot.check_private(str(tmp_path / "place"))


def native(root: Path) -> str:
    """Where the parts of the artifact at `root` end up."""
    return os.path.realpath(boot.native_folder(str(root), FILES, CONTENT.__getitem__))


def blocked(tmp_path: Path) -> str:
    """A path below which no folder can be made, for any user."""
    (tmp_path / "file").write_text("")
    return str(tmp_path / "file" / "below")


def test_a_folder_artifact_is_used_where_it_lies(tmp_path: Path) -> None:
    assert native(tmp_path) == str(tmp_path / "_native")


def test_the_cache_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert native(tmp_path / "x.pyz").startswith(str(tmp_path / "cache" / "forge_min"))


def test_then_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert native(tmp_path / "x.pyz").startswith(str(tmp_path / "home" / ".cache" / "forge_min"))


@pytest.mark.parametrize("home", ["relative", "~"])
def test_without_a_home_no_folder_is_made_where_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", home)
    assert boot.cache() == ""


def test_then_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("XDG_CACHE_HOME", blocked(tmp_path))
    monkeypatch.setattr(os, "memfd_create", refused)
    with pytest.raises(SystemExit) as caught:
        native(tmp_path / "x.pyz")
    assert str(caught.value.code).startswith("error[F351]: ")
    assert "XDG_CACHE_HOME" in str(caught.value.code)


FOUND = """
import os, sys
from forge_min.ship.artifact import boot
import forge_min.resources
file = sys.argv[1]
root = boot.hold(file)
sys.path.insert(0, root)
import traceback
import pack.inner, plain, space.part, pack.only_source

print(type(pack.__spec__.loader).__name__, type(plain.__spec__.loader).__name__)
for module in (pack, pack.inner, plain, space.part):
    print(module.__name__, module.__file__.removeprefix(root), module.__package__)
print(pack.__path__ == [root + "/pack"])
try:
    plain.fail()
except ValueError:
    print(traceback.format_exc().splitlines()[-2].strip())
try:
    import pack.missing
except ModuleNotFoundError as err:
    print(err)
sys.path.insert(0, sys.argv[2])
import extra
del sys.modules["plain"]
import plain
print(extra.__file__ == sys.argv[2] + "/extra.py", plain.__file__.removeprefix(root))
import importlib
os.rename(file, file + ".aside")
del sys.modules["pack.inner"], sys.modules["space.part"]
importlib.invalidate_caches()
import pack.inner, space.part
print(space.part.__file__.removeprefix(root))
open(file + ".aside", "wb").write(b"another")
sys.modules["linecache"].clearcache()
try:
    plain.fail()
except ValueError:
    print(traceback.format_exc().splitlines()[-1])
print(plain.__loader__.get_source("plain"))
"""


def test_modules_of_a_zip_are_found_as_python_itself_finds_them(tmp_path: Path) -> None:
    sources = {
        "pack/__init__.py": "",
        "pack/inner.py": "",
        "plain.py": "def fail():\n    raise ValueError('here')\n",
        "space/part.py": "",
    }
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("space/", "")
        file.writestr("pack/only_source.py", "")
        for name, source in sources.items():
            (tmp_path / "work.py").write_text(source)
            compiled = py_compile.compile(
                str(tmp_path / "work.py"), dfile=name, doraise=True, invalidation_mode=UNCHECKED
            )
            file.writestr(name, source)
            file.write(str(compiled), f"{name}c")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.writestr("extra.py", "")
    shown = subprocess.run(
        [sys.executable, "-c", FOUND, archive, tmp_path / "b.zip"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines() == [
        "Importer Importer",
        "pack /pack/__init__.pyc pack",
        "pack.inner /pack/inner.pyc pack",
        "plain /plain.pyc ",
        "space.part /space/part.pyc space",
        "True",
        "raise ValueError('here')",
        "No module named 'pack.missing'",
        "True /plain.pyc",
        "/space/part.pyc",
        "ValueError: here",
        "None",
    ]
