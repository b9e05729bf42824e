"""Files that belong to the user are written once, whole, and never again."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.generate.tree import scaffold


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("mine")
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere")
    files = {"app.py": "theirs", "dangling.py": "theirs", "r/jobs.py": "new\n"}
    assert scaffold(tmp_path, files) == ["r/jobs.py"]
    assert (tmp_path / "app.py").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    assert (tmp_path / "r/jobs.py").read_text() == "new\n"
    (tmp_path / "r/jobs.py").write_text("edited")
    assert scaffold(tmp_path, files) == []
    assert (tmp_path / "r/jobs.py").read_text() == "edited"
    assert os.listdir(tmp_path / "r") == ["jobs.py"]


def test_files_have_the_permissions_that_the_user_asks_for(tmp_path: Path) -> None:
    scaffold(tmp_path, {"a.py": ""})
    (tmp_path / "b.py").touch()
    assert (tmp_path / "a.py").stat().st_mode == (tmp_path / "b.py").stat().st_mode


def test_one_of_many_writers_wins(tmp_path: Path) -> None:
    wins: list[int] = []
    gate = threading.Barrier(8)

    def write(number: int) -> None:
        gate.wait(timeout=10)
        if scaffold(tmp_path, {"a.py": str(number) * 1000}):
            wins.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(wins) == 1
    assert (tmp_path / "a.py").read_text() == str(wins[0]) * 1000
    assert os.listdir(tmp_path) == ["a.py"]


def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        scaffold(tmp_path, {"a.py": "\ud800"})
    with limited(4), pytest.raises(BuildError) as caught:
        scaffold(tmp_path, {"a.py": "longer"})
    assert caught.value.code == "F002"
    assert os.listdir(tmp_path) == []


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Files of this process may have at most `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_in_the_place_of_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("x")
    with pytest.raises(BuildError) as caught:
        scaffold(tmp_path, {"r/jobs.py": ""})
    assert caught.value.code == "F002"
