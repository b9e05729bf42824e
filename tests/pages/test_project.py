"""The pages of a project: which files give which modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from forge_min.errors import ErrorGroup
from forge_min.pages import compile_pages


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_html", ".html")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_pages_are_named_after_their_resource_and_layouts_are_no_pages(tmp_path: Path) -> None:
    write(
        tmp_path,
        views__board_html="<!--$layout base.html--><p>${x}</p>",
        views__base_html="<html><!--$body--></html>",
        resources__flight__views__list_html="<!--$layout base.html--><!--$include row.html-->",
        resources__flight__views__row_html="<i>${row.x}</i>",
    )
    compiled = compile_pages(tmp_path)
    assert sorted(compiled) == [
        "pages/__init__.py",
        "pages/board.py",
        "pages/flight_list.py",
        "pages/flight_row.py",
    ]
    assert "resources/flight/views/list.html" in compiled["pages/flight_list.py"].splitlines()[0]
    for path, text in compiled.items():
        compile(text, path, "exec")


def test_a_text_is_compiled_without_escaping(tmp_path: Path) -> None:
    source = "Dear ${name},\n<!--$for line in lines-->\n* ${line.x}\n<!--$end-->\n"
    write(tmp_path, **{"views__mail.txt": source, "views__mail-page_html": "<p>${name}</p>"})
    compiled = compile_pages(tmp_path)
    space: dict[str, Any] = {}
    exec(compile(compiled["pages/mail.py"], "mail.py", "exec"), space)  # noqa: S102
    lines = [SimpleNamespace(x="<b>"), SimpleNamespace(x="'{}'")]
    assert space["render"](name='A & "B"', lines=lines) == "Dear A & \"B\",\n* <b>\n* '{}'\n"


def test_a_project_without_pages_gives_nothing(tmp_path: Path) -> None:
    assert compile_pages(tmp_path) == {}


def test_the_mistakes_of_all_pages_are_reported_together(tmp_path: Path) -> None:
    write(
        tmp_path,
        views__a_html="<script>${x}</script>",
        views__b_html="<p title=${x}>",
        views__flight_list_html="",
        resources__flight__views__list_html="",
    )
    (tmp_path / "views" / "Ä.html").write_text("")
    (tmp_path / "views" / "latin.html").write_bytes(b"\xe4")
    (tmp_path / "views" / "class.html").write_text("")
    with pytest.raises(ErrorGroup) as caught:
        compile_pages(tmp_path)
    assert sorted(error.code for error in caught.value.errors) == [
        "F310",
        "F310",
        "F319",
        "F319",
        "F319",
        "F319",
    ]
    for error in caught.value.errors:
        assert error.message.startswith(("views/", "resources/"))


READ = """
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from forge_min.errors import ErrorGroup
from forge_min.pages import compile_pages
try:
    compile_pages(Path(sys.argv[1]))
except ErrorGroup as group:
    print(*group.errors, sep="\\n")
"""


def test_a_pipe_is_no_page_and_nobody_waits_for_it(tmp_path: Path) -> None:
    write(tmp_path, views__a_html="<!--$include pipe.html-->")
    os.mkfifo(tmp_path / "views" / "pipe.html")
    (tmp_path / "views" / "linked.html").symlink_to("pipe.html")
    shown = subprocess.run(
        [sys.executable, "-c", READ, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert "views/pipe.html:1:1: it is not a regular file" in shown
    assert "views/linked.html:1:1: it is not a regular file" in shown
    assert "views/a.html" in shown


def test_a_page_extends_the_built_in_page_of_its_name(tmp_path: Path) -> None:
    write(
        tmp_path,
        resources__flight__views__list_html=(
            "<!--$layout list.html-->\n<!--$block heading--><h1>Own ${title}</h1><!--$end-->\n"
        ),
        views__layout_html="<!--$layout layout.html--><!--$block footer--><p>Own</p><!--$end-->",
    )
    compiled = compile_pages(tmp_path)
    own = compiled["pages/flight_list.py"]
    assert "<h1>Own " in own and "words.trash" not in own and 'id="rows"' in own
    assert (
        "<p>Own</p>" in compiled["pages/layout.py"]
        and "frame.account" in compiled["pages/layout.py"]
    )
