"""The pages of the library are what their HTML files say.

Run as a script, this file compiles them anew.
"""

from __future__ import annotations

from pathlib import Path

import forge_min
from forge_min.pages import compile_page
from forge_min.pages.tokens import PageSource

FOLDER = Path(forge_min.__file__).parent / "wsgi" / "templates"
PARTS = {"field"}  # they are included by others
HOW = "change the page and run python tests/wsgi/test_templates.py"


def load(name: str) -> PageSource | None:
    path = FOLDER / name
    return PageSource(name, path.read_text("utf-8")) if path.is_file() else None


def compiled() -> dict[str, str]:
    """module → source."""
    found = {}
    for path in sorted(FOLDER.glob("*.html")):
        if path.stem not in PARTS:
            text = compile_page(path.read_text("utf-8"), path.stem, file=path.name, load=load)
            text = text.replace("change the page and run generate", HOW)
            found[path.stem] = text.replace("from forge_min.wsgi.html", "from ..html")
    return found


def test_every_template_is_compiled_from_its_file() -> None:
    for name, text in compiled().items():
        assert (FOLDER / f"{name}.py").read_text("utf-8") == text, HOW


def test_no_module_is_left_of_a_template_that_went() -> None:
    assert {p.stem for p in FOLDER.glob("*.py")} == {"__init__", *compiled()}


if __name__ == "__main__":
    for name, text in compiled().items():
        (FOLDER / f"{name}.py").write_text(text, "utf-8")
