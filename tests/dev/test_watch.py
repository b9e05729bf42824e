"""Saving is seen however it is done, and what nobody wrote is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from forge_min.dev.watch import Watcher


@pytest.fixture
def watcher(tmp_path: Path) -> Watcher:
    (tmp_path / "views").mkdir()
    (tmp_path / "app.py").write_text("1")
    (tmp_path / "views" / "home.html").write_text("1")
    return Watcher(tmp_path)


def by_rename(path: Path) -> None:
    beside = path.with_name(f".{path.name}.swp")
    beside.write_text("2")
    beside.replace(path)


def by_backup(path: Path) -> None:
    path.rename(path.with_name(f".{path.name}.old"))
    path.write_text("2")


def in_place(path: Path) -> None:
    path.write_text("2")


def by_touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("save", [by_rename, by_backup, in_place, by_touch])
def test_every_way_of_saving_is_seen_once(
    watcher: Watcher, tmp_path: Path, save: Callable[[Path], None]
) -> None:
    assert watcher.changed() == set()
    save(tmp_path / "views" / "home.html")
    assert watcher.changed() == {"views/home.html"}
    assert watcher.changed() == set()


def test_files_that_come_and_go_are_seen_in_new_folders_too(
    watcher: Watcher, tmp_path: Path
) -> None:
    (tmp_path / "resources" / "pet").mkdir(parents=True)
    (tmp_path / "resources" / "pet" / "schema.py").write_text("1")
    assert watcher.changed() == {"resources/pet/schema.py"}
    (tmp_path / "resources" / "pet" / "jobs.py").write_text("1")
    assert watcher.changed() == {"resources/pet/jobs.py"}
    shutil.rmtree(tmp_path / "resources")
    assert watcher.changed() == {"resources/pet/schema.py", "resources/pet/jobs.py"}


def test_a_folder_in_the_place_of_another_is_seen_too(watcher: Watcher, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "views", tmp_path / ".views")
    shutil.rmtree(tmp_path / "views")
    (tmp_path / ".views").rename(tmp_path / "views")
    assert watcher.changed() == {"views/home.html"}
    in_place(tmp_path / "views" / "home.html")
    assert watcher.changed() == {"views/home.html"}


@pytest.mark.parametrize(
    "name", [".git/index", "__pycache__/app.pyc", ".forge/log", "env/lib/x.py", "dist/shop.pyz"]
)
def test_what_nobody_wrote_is_not_looked_at(watcher: Watcher, tmp_path: Path, name: str) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("1")
    assert watcher.changed() == set()


def test_a_link_to_nothing_hides_no_other_file(watcher: Watcher, tmp_path: Path) -> None:
    (tmp_path / "aaa").symlink_to(tmp_path / "nowhere")
    in_place(tmp_path / "app.py")
    assert watcher.changed() == {"app.py"}


def test_a_burst_is_one_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = Watcher(tmp_path)
    left = [tmp_path / f"m{number}.py" for number in range(50)]

    def save(seconds: float) -> None:
        """Five more files are written during each pause."""
        for path in (left.pop() for _ in range(5) if left):
            path.write_text("1")

    monkeypatch.setattr("forge_min.dev.watch.time.sleep", save)
    monkeypatch.setattr("forge_min.dev.watch.MAX_WAIT", 60.0)  # however slow this machine is
    save(0)
    assert len(watcher.changed()) == 50
