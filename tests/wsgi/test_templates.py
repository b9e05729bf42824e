"""The build compiles the HTML templates of the library to modules beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import forge_min
import pytest
from forge_min.pages import compile_library_pages

PACKAGE = Path(forge_min.__file__).parent
REPOSITORY = PACKAGE.parent
FOLDERS = ("html/templates", "api/templates", "admin/templates")


def test_every_template_is_compiled_from_its_file() -> None:
    compiled = compile_library_pages()
    for name, text in compiled.items():
        assert (PACKAGE / name).read_text("utf-8") == text, "run python setup.py -q compile_pages"
    found = (path for folder in FOLDERS for path in (PACKAGE / folder).glob("*.py"))
    modules = {path.relative_to(PACKAGE).as_posix() for path in found}
    assert modules == {*(f"{folder}/__init__.py" for folder in FOLDERS), *compiled}


@pytest.mark.thorough
def test_a_wheel_from_a_source_tree_without_compiled_templates_has_them(tmp_path: Path) -> None:
    tree = tmp_path / "source"
    listed = subprocess.run(
        ["git", "-C", str(REPOSITORY), "ls-files", "forge_min", "setup.py", "pyproject.toml"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes((REPOSITORY / name).read_bytes())
    for name in ("README.md", "LICENSE"):
        (tree / name).write_text("")
    assert not (tree / "forge_min/html/templates/form.py").exists()
    assert not (tree / "forge_min/admin/templates/job.py").exists()
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", "../built"]
    subprocess.run(build, cwd=tree, check=True)
    for name, text in compile_library_pages().items():
        assert (tmp_path / "built/forge_min" / name).read_text("utf-8") == text
