"""Page files: views/*.html of a project and of its resources, and templates of the library."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from ..data import files
from ..errors import BuildError, ErrorGroup, ForgeError
from .compile import compile_page
from .tokens import PageSource, tokenize

_OURS = files(__package__.partition(".")[0]) / "wsgi" / "templates"
_INCLUDED = ("field.html",)  # templates of the library that only others include
_STEM = re.compile(r"[a-z][a-z0-9_-]*")


def compile_pages(root: Path) -> dict[str, str]:
    """Every page below `root` by its module's path in gen/: pages/board.py, pages/flight_list.py.

    A layout (a file with <!--$body-->) gives no module. ErrorGroup with the error of every page.
    """
    compiled: dict[str, str] = {}
    errors: list[ForgeError] = []
    for folder in [root / "views", *sorted((root / "resources").glob("*/views"))]:
        prefix = "" if folder.parent == root else folder.parent.name + "_"
        for path in sorted(folder.glob("*.html")):
            try:
                _add(compiled, root, path, prefix + path.stem)
            except BuildError as err:
                errors.append(err)
    if errors:
        raise ErrorGroup(f"{len(errors)} pages cannot be compiled", errors)
    if compiled:
        compiled["pages/__init__.py"] = '"""The pages, compiled. Generated: do not edit."""\n'
    return compiled


def library_page(name: str) -> str | None:
    """The source of a page of the library's, "list.html"; None where there is none of the name."""
    place = _OURS / name
    return place.read_text("utf-8") if place.is_file() else None


def compile_library_pages() -> dict[str, str]:
    """Return the source of each compiled template by its path: "wsgi/templates/form.py"."""
    compiled = {}
    for place in sorted(_OURS.iterdir(), key=lambda place: place.name):
        if place.name.endswith(".html") and place.name not in _INCLUDED:
            stem = place.name.removesuffix(".html")
            text = place.read_text("utf-8")
            compiled[f"wsgi/templates/{stem}.py"] = compile_page(
                text, stem, file=place.name, load=_load_library_page
            )
    return compiled


def _load_library_page(name: str) -> PageSource | None:
    text = library_page(name)
    return None if text is None else PageSource(name, text)


def _add(compiled: dict[str, str], root: Path, path: Path, stem: str) -> None:
    module = stem.replace("-", "_")
    if not _STEM.fullmatch(stem) or keyword.iskeyword(module):
        raise _bad_file(root, path, "the file name is not made of a-z, 0-9, _ and -")
    if f"pages/{module}.py" in compiled:
        raise _bad_file(root, path, f'another page is named "{module}" too')

    def load(name: str) -> PageSource | None:
        """Files beside the page come first, then those of views/ at the root, then ours."""
        for folder in (path.parent, root / "views"):
            if (folder / name).is_file():
                return _read(root, folder / name)
        ours = library_page(name)
        return None if ours is None else PageSource(f"forge_min/{name}", ours)

    source = _read(root, path)
    if not any(token.kind == "body" for token in tokenize(source)):
        text = compile_page(source.text, module, file=source.file, load=load)
        compiled[f"pages/{module}.py"] = text


def _read(root: Path, path: Path) -> PageSource:
    if not path.is_file():  # a pipe would be waited for
        raise _bad_file(root, path, "it is no regular file")
    try:
        return PageSource(path.relative_to(root).as_posix(), path.read_bytes().decode("utf-8-sig"))
    except (UnicodeDecodeError, OSError):
        raise _bad_file(root, path, "the file cannot be read as UTF-8 text") from None


def _bad_file(root: Path, path: Path, message: str) -> BuildError:
    file = path.relative_to(root).as_posix()
    return BuildError(f"{file}:1:1: {message}", code="F319", hint="rename it or save it as UTF-8")
