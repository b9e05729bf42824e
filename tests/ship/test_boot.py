"""The artifact's `__main__`: the machine, places for compiled parts, and all ways to lose them."""

from __future__ import annotations

import os
import py_compile
import stat
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import pytest
from forge_min.ship.artifact import boot

UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH
FILES = {"_native/a/core.so": 4, "_native/a/__init__.py": 0}
CONTENT = {"_native/a/core.so": b"\x7fELF", "_native/a/__init__.py": b""}


def unpack(place: Path) -> str:
    """The two files into the place."""
    return boot.unpack_into(str(place), "digest", FILES, CONTENT.__getitem__)


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
    folder = unpack(tmp_path / "place")
    inside = Path(folder, "_native", "a", "core.so")
    assert inside.read_bytes() == b"\x7fELF"
    assert stat.S_IMODE((tmp_path / "place").stat().st_mode) == 0o700
    first = inside.stat().st_ino
    assert unpack(tmp_path / "place") == folder
    assert inside.stat().st_ino == first
    assert os.listdir(tmp_path / "place") == ["digest"]


@pytest.mark.parametrize("harm", [Path.unlink, lambda p: p.write_bytes(b"x")])
def test_a_damaged_folder_is_made_anew(tmp_path: Path, harm: object) -> None:
    inside = Path(unpack(tmp_path / "place"), "_native", "a", "core.so")
    harm(inside)  # type: ignore[operator]
    unpack(tmp_path / "place")
    assert inside.read_bytes() == b"\x7fELF"
    assert os.listdir(tmp_path / "place") == ["digest"]


def test_a_file_that_became_a_link_is_not_used(tmp_path: Path) -> None:
    inside = Path(unpack(tmp_path / "place"), "_native", "a", "core.so")
    inside.unlink()
    (tmp_path / "evil").write_bytes(b"EVIL")
    inside.symlink_to(tmp_path / "evil")
    unpack(tmp_path / "place")
    assert not inside.is_symlink()


def test_many_at_once_get_one_whole_folder(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    folders: list[str] = []

    def run() -> None:
        barrier.wait(10)
        folders.append(unpack(tmp_path / "place"))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(folders) == 8 and len(set(folders)) == 1
    assert boot.is_whole(folders[0], FILES)
    assert os.listdir(tmp_path / "place") == ["digest"]


def test_a_full_disk_leaves_nothing_half(tmp_path: Path) -> None:
    def full(name: str) -> bytes:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        boot.unpack_into(str(tmp_path / "place"), "digest", FILES, full)
    assert os.listdir(tmp_path / "place") == []


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_place_that_others_may_enter_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place").chmod(mode)
    with pytest.raises(PermissionError):
        boot.open_place(str(tmp_path / "place"))


def test_a_place_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "place").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError):
        boot.open_place(str(tmp_path / "place"))


def test_a_place_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "place").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError):
        boot.open_place(str(tmp_path / "place"))


def test_a_noexec_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    flagged = os.statvfs_result((*real[:8], real.f_flag | os.ST_NOEXEC, real.f_namemax))
    monkeypatch.setattr(os, "statvfs", lambda _: flagged)
    with pytest.raises(PermissionError, match="noexec"):
        boot.open_place(str(tmp_path / "place"))


def native(root: Path) -> str:
    """Where the parts of the artifact at `root` end up."""
    info = {"native": "digest", "native_files": FILES}
    return boot.native_folder(str(root), info, CONTENT.__getitem__)


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


def test_then_the_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", blocked(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert native(tmp_path / "x.pyz").startswith(str(tmp_path / "run" / "forge_min"))


ENDS = """
import sys
from forge_min.ship.artifact import boot
info = {"native": "d", "native_files": {"_native/a": 1}}
print(boot.native_folder("x.pyz", info, lambda name: b"x"))
"""


def test_then_a_private_one_that_goes_with_the_process(tmp_path: Path) -> None:
    environ = {**os.environ, "XDG_CACHE_HOME": blocked(tmp_path), "TMPDIR": str(tmp_path / "tmp")}
    environ.pop("XDG_RUNTIME_DIR", None)
    (tmp_path / "tmp").mkdir()
    shown = subprocess.run(
        [sys.executable, "-c", ENDS], env=environ, capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith(str(tmp_path / "tmp" / "forge_min-"))
    assert os.listdir(tmp_path / "tmp") == []


def test_then_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(**_: str) -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setenv("XDG_CACHE_HOME", blocked(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr(tempfile, "mkdtemp", nowhere)
    with pytest.raises(SystemExit) as caught:
        native(tmp_path / "x.pyz")
    assert str(caught.value.code).startswith("error[F351]: ")
    assert "XDG_CACHE_HOME" in str(caught.value.code)


FOUND = """
import sys
root = sys.argv[1]
from forge_min.ship.artifact import boot
import forge_min.data
sys.path.insert(0, root)
boot.quicken(root)
import traceback
from importlib import metadata
import pack.inner, plain, space.part, pack.only_source

print(type(pack.__spec__.loader).__name__, type(plain.__spec__.loader).__name__)
for module in (pack, pack.inner, plain, space.part):
    print(module.__name__, module.__file__, module.__package__, module.__spec__.has_location)
print(pack.__path__, plain.__cached__)
try:
    plain.fail()
except ValueError:
    print(traceback.format_exc().splitlines()[-2].strip())
try:
    import pack.missing
except ModuleNotFoundError as err:
    print(err)
print(metadata.version("Odd.name"), metadata.version("odd-name"), metadata.version("pytest") > "1")
print([d.version for d in metadata.distributions() if d.name == "odd_name"])
try:
    metadata.version("nowhere")
except metadata.PackageNotFoundError as err:
    print("not found:", err)
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
        file.writestr("odd_name-3.2.dist-info/METADATA", "Name: odd_name\nVersion: 3.2\n")
        for name, source in sources.items():
            (tmp_path / "work.py").write_text(source)
            compiled = py_compile.compile(
                str(tmp_path / "work.py"), dfile=name, doraise=True, invalidation_mode=UNCHECKED
            )
            file.writestr(name, source)
            file.write(str(compiled), f"{name}c")
    shown = subprocess.run(
        [sys.executable, "-c", FOUND, archive], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines() == [
        "Importer Importer",
        f"pack {archive}/pack/__init__.pyc pack True",
        f"pack.inner {archive}/pack/inner.pyc pack True",
        f"plain {archive}/plain.pyc  True",
        f"space.part {archive}/space/part.pyc space True",
        f"['{archive}/pack'] {archive}/plain.pyc",
        "raise ValueError('here')",
        "No module named 'pack.missing'",
        "3.2 3.2 True",
        "['3.2']",
        "not found: No package metadata was found for nowhere",
    ]
