"""A generated folder: whole at every moment, exact, and untouched where nothing changed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from forge_min.errors import BuildError
from forge_min.generate import tree
from forge_min.generate.render import render
from forge_min.generate.tree import TreeChanges, write_tree
from hypothesis import given, settings
from hypothesis import strategies as st

from ..parse.helpers import IMPORT, codes, parse
from ..parse.strategies import schema_projects

FILES = {"__init__.py": "", "a/one.py": "x = 1\n", "a/two.py": "y = 'é'\n", "data.json": "{}\n"}


def read(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode()
        for path in folder.rglob("*")
        if path.is_file() and path.name != tree.MARKER and "__pycache__" not in path.parts
    }


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(BuildError) as caught:
        action()
    return caught.value.code


def test_a_first_run_writes_everything_and_a_second_one_nothing(tmp_path: Path) -> None:
    gen = tmp_path / "gen"
    assert write_tree(gen, FILES).written == (".generated", *sorted(FILES))
    assert read(gen) == FILES
    assert write_tree(gen, FILES) == TreeChanges((), (), (".generated", *sorted(FILES)))
    assert os.listdir(tmp_path) == ["gen"]


def test_only_what_changed_gets_a_new_time_and_what_is_stale_goes(tmp_path: Path) -> None:
    gen = tmp_path / "gen"
    write_tree(gen, FILES)
    for path in gen.rglob("*.*"):
        os.utime(path, (1000, 1000))
    changed = {**FILES, "a/one.py": "x = 2\n", "b/new.py": ""}
    del changed["data.json"]
    report = write_tree(gen, changed)
    assert (report.written, report.removed) == (("a/one.py", "b/new.py"), ("data.json",))
    assert read(gen) == changed
    assert (gen / "a/two.py").stat().st_mtime == 1000
    assert (gen / "a/one.py").stat().st_mtime > 1000


def test_check_says_what_is_stale_and_changes_nothing(tmp_path: Path) -> None:
    gen = tmp_path / "gen"
    assert write_tree(gen, FILES, check=True).stale
    assert not gen.exists()
    write_tree(gen, FILES)
    assert not write_tree(gen, FILES, check=True).stale
    (gen / "a/one.py").write_text("edited")
    report = write_tree(gen, FILES, check=True)
    assert report.written == ("a/one.py",)
    assert (gen / "a/one.py").read_text() == "edited"


def test_a_cache_of_bytecode_is_not_stale(tmp_path: Path) -> None:
    gen = tmp_path / "gen"
    write_tree(gen, FILES)
    (gen / "a/__pycache__").mkdir()
    (gen / "a/__pycache__/one.cpython-311.pyc").write_bytes(b"x")
    assert not write_tree(gen, FILES, check=True).stale


def test_links_inside_are_replaced_and_never_followed(tmp_path: Path) -> None:
    gen, outside = tmp_path / "gen", tmp_path / "outside"
    write_tree(gen, FILES)
    outside.mkdir()
    (outside / "mine.py").write_text("x = 1\n")
    (gen / "a/one.py").unlink()
    (gen / "a/one.py").symlink_to(outside / "mine.py")
    (gen / "linked").symlink_to(outside)
    report = write_tree(gen, {**FILES, "a/one.py": "x = 3\n"})
    assert report.removed == ("linked",)
    assert (outside / "mine.py").read_text() == "x = 1\n"
    assert not (gen / "a/one.py").is_symlink()


def test_code_that_is_not_python_is_refused_and_the_old_tree_stays(tmp_path: Path) -> None:
    gen = tmp_path / "gen"
    write_tree(gen, FILES)
    for bad in ("def", "x = 'a\0b'"):
        assert code_of(lambda bad=bad: write_tree(gen, {**FILES, "z.py": bad})) == "F001"  # type: ignore[misc]
    assert read(gen) == FILES
    assert os.listdir(tmp_path) == ["gen"]


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    gen = tmp_path / "gen"
    gen.mkdir()
    (gen / "thesis.txt").write_text("years of work")
    assert code_of(lambda: write_tree(gen, FILES)) == "F360"
    assert (gen / "thesis.txt").read_text() == "years of work"
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(gen)
    assert code_of(lambda: write_tree(tmp_path / "file", FILES)) == "F360"
    assert code_of(lambda: write_tree(tmp_path / "link", FILES)) == "F360"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "gen").mkdir()
    write_tree(tmp_path / "gen", FILES)
    assert read(tmp_path / "gen") == FILES


def test_folders_of_the_user_with_a_similar_name_stay(tmp_path: Path) -> None:
    (tmp_path / ".gen-notes").mkdir()
    write_tree(tmp_path / "gen", FILES)
    assert (tmp_path / ".gen-notes").is_dir()


@pytest.mark.parametrize("how", ["exchange", "renames"])
def test_a_kill_at_any_step_leaves_the_old_tree_or_the_new_one(tmp_path: Path, how: str) -> None:
    killer = Path(__file__).with_name("killer.py")
    done = subprocess.run(
        [sys.executable, str(killer), str(tmp_path), how],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def test_many_writers_at_once_leave_one_whole_tree(tmp_path: Path) -> None:
    gen = tmp_path / "gen"
    trees = [{**FILES, f"n{i}.py": f"x = {i}\n", "a/one.py": f"x = {i}\n"} for i in range(4)]
    failures: list[BaseException] = []

    def write(files: dict[str, str]) -> None:
        try:
            for _ in range(15):
                write_tree(gen, files)
        except BaseException as err:
            failures.append(err)

    threads = [threading.Thread(target=write, args=(files,)) for files in trees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert read(gen) in trees
    assert os.listdir(tmp_path) == ["gen"]


def test_where_a_folder_cannot_be_renamed_it_is_deleted_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gen = tmp_path / "gen"
    write_tree(gen, FILES)
    rename = os.rename

    def as_overlayfs(source: Path, target: Path) -> None:
        if Path(source) == gen:
            raise OSError(18, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(tree, "_exchange", lambda new, folder: False)
    monkeypatch.setattr(os, "rename", as_overlayfs)
    write_tree(gen, {"only.py": ""})
    assert read(gen) == {"only.py": ""}


AS_NOBODY = """
import os, sys
from pathlib import Path
from forge_min.errors import BuildError
from forge_min.generate.tree import scaffold, write_tree
os.chdir(sys.argv[1])
os.chmod(".", 0o555)
if os.getuid() == 0:
    os.setuid(65534)
for function, path in ((write_tree, "gen"), (scaffold, ".")):
    try:
        function(Path(path), {"a.py": ""})
    except BuildError as err:
        print(err.code, bool(err.hint))
"""


def test_a_folder_that_may_not_be_written_is_one_clear_error(tmp_path: Path) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(tmp_path)], capture_output=True, text=True
        )
    finally:
        tmp_path.chmod(0o755)
    assert done.stdout.split() == ["F002", "True"] * 2, done.stderr
    assert os.listdir(tmp_path) == []


def test_a_project_that_is_not_there_is_the_same_error(tmp_path: Path) -> None:
    assert code_of(lambda: write_tree(tmp_path / "gone" / "gen", FILES)) == "F002"


@pytest.mark.parametrize("name", ["Pages", "Registry"])
def test_a_resource_cannot_have_the_name_of_another_part_of_gen(name: str) -> None:
    text = IMPORT + f'thing = schema.define("{name}", schema.string("a"))\n'
    assert codes(parse(**{name.lower(): text})) == ["F120"]


@given(schema_projects())
@settings(max_examples=20, deadline=None)
def test_no_two_generated_files_have_one_name_also_where_case_is_ignored(
    files: dict[str, str],
) -> None:
    paths = [
        path.lower() for path in (*render(parse(**files).resources, {}), "pages/thing_list.py")
    ]
    modules = {path.removesuffix(".py") for path in paths}
    assert len(modules) == len(paths)
    assert all(re.fullmatch(r"[a-z_][a-z0-9_]*(/[a-z0-9_]+)?(\.[a-z]+)?", path) for path in paths)
    assert not modules & {path.rpartition("/")[0] for path in paths if "/" in path}


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a.txt", "b.py", "c/d.py", "c/e.txt", "f/g/h.py"]),
            st.sampled_from(["", "x = 1\n", "y = 2\n"]),
        ),
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None)
def test_after_any_history_the_folder_is_the_last_tree(
    tmp_path_factory: pytest.TempPathFactory, history: list[dict[str, str]]
) -> None:
    root = tmp_path_factory.mktemp("history")
    for files in history:
        before = read(root / "gen")
        report = write_tree(root / "gen", files)
        assert read(root / "gen") == files
        written = {path for path in files if before.get(path) != files[path]}
        assert set(report.written) - {tree.MARKER} == written
        assert set(report.removed) == before.keys() - files.keys()
