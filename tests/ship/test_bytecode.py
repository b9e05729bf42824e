"""Compiled modules: the same bytes from the same sources, whatever this process did before."""

from __future__ import annotations

import marshal
import subprocess
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.ship.artifact.archive import write_folder
from forge_min.ship.artifact.bytecode import compile_members

SOURCES = {
    "a/__init__.py": b"def f(x):\n    return x in {'one', 'two', 'three', f.__name__}\n",
    "a/b.py": b"NAMES = frozenset(['a', 'b'])\nprint(1 if __name__ in {'p', 'q'} else 2)\n",
    "a/data.json": b"{}",
}


def test_the_bytes_depend_on_the_sources_alone() -> None:
    first = compile_members(SOURCES, zipped=True)
    assert all(compile_members(SOURCES, zipped=True) == first for _ in range(3))


def test_what_this_process_has_interned_changes_nothing() -> None:
    fresh = {name.encode().decode(): text for name, text in SOURCES.items()}
    interned = {sys.intern(name): text for name, text in SOURCES.items()}
    holders = [list(interned) for _ in range(3)]
    assert compile_members(fresh, zipped=True) == compile_members(interned, zipped=True)
    assert holders


def test_they_hold_no_time_and_the_hash_is_not_checked() -> None:
    data = compile_members(SOURCES, zipped=True)["a/b.pyc"]
    assert data[:4] == MAGIC_NUMBER
    assert int.from_bytes(data[4:8], "little") == 0b01  # PEP 552: hash-based, unchecked


def test_tracebacks_name_the_file_inside_the_artifact() -> None:
    code = marshal.loads(compile_members(SOURCES, zipped=True)["a/__init__.pyc"][16:])
    assert code.co_filename == "a/__init__.py"


def test_each_lies_where_its_importer_looks() -> None:
    assert set(compile_members(SOURCES, zipped=True)) == {"a/__init__.pyc", "a/b.pyc"}
    names = set(compile_members(SOURCES, zipped=False))
    assert all(name.startswith("a/__pycache__/") and "opt" not in name for name in names)
    unpacked = compile_members({f"_native/{n}": text for n, text in SOURCES.items()}, zipped=True)
    assert set(unpacked) == {f"_native/{name}" for name in names}


def test_a_pycache_prefix_of_whoever_builds_leads_nothing_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = compile_members(SOURCES, zipped=False)
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "prefix"))
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "prefix"))
    assert compile_members(SOURCES, zipped=False) == before
    assert not (tmp_path / "prefix").exists()


def test_python_finds_them_there(tmp_path: Path) -> None:
    monkey = {"a/__init__.py": b"", "a/b.py": b"def tell():\n    return 1\n"}
    write_folder(compile_members({**SOURCES, **monkey}, zipped=False) | monkey, tmp_path / "x")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import a.b; print(a.b.__cached__)"
    words = [sys.executable, "-I", "-S", "-B", "-v", "-c", code, str(tmp_path / "x")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{tmp_path / 'x' / 'a' / '__pycache__' / 'b.'}")
    assert f"matches {tmp_path / 'x' / 'a' / 'b.py'}" in done.stderr


@pytest.mark.parametrize(
    "source", [b"x = (\n", b"\n\n1 +\n", b"x = '\xff'\n", b"\0", b"-" * 200_000 + b"1"]
)
def test_a_syntax_error_names_file_and_line(source: bytes) -> None:
    with pytest.raises(BuildError, match=r"a/z\.py:\d+: ") as caught:
        compile_members({**SOURCES, "a/z.py": source}, zipped=True)
    assert caught.value.code == "F344"


def test_nothing_of_the_source_is_run() -> None:
    compile_members({"a.py": b"raise SystemExit(9)\n"}, zipped=True)
