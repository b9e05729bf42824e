"""The page files of a project: views/*.html at its root and in its resources."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from ..errors import BuildError, ErrorGroup, ForgeError
from .assemble import Load
from .compile import compile_page
from .tokens import PageSource, tokenize

_STEM = re.compile(r"[a-z][a-z0-9_-]*")


def compile_pages(root: Path) -> dict[str, str]:
    """Every page below `root` by its module's path in gen/: pages/board.py, pages/flight_list.py.

    A layout (a file with <!--$body-->) gives no module. ErrorGroup with the error of every page.
    """
    compiled: dict[str, str] = {}
    errors: list[ForgeError] = []
    for prefix, path in _files(root):
        try:
            module = _module(root, prefix, path)
            text = _compile(root, path, module)
            if text is not None and f"pages/{module}.py" in compiled:
                raise _bad_file(root, path, f'another page is named "{module}" too')
            if text is not None:
                compiled[f"pages/{module}.py"] = text
        except BuildError as err:
            errors.append(err)
    if errors:
        raise ErrorGroup(f"{len(errors)} pages cannot be compiled", errors)
    if compiled:
        compiled["pages/__init__.py"] = '"""The pages, compiled. Generated: do not edit."""\n'
    return compiled


def _files(root: Path) -> list[tuple[str, Path]]:
    """(prefix of the module's name, file), in a stable order."""
    found = [("", path) for path in sorted((root / "views").glob("*.html"))]
    for path in sorted((root / "resources").glob("*/views/*.html")):
        found.append((path.parent.parent.name + "_", path))
    return found


def _module(root: Path, prefix: str, path: Path) -> str:
    name = (prefix + path.stem).replace("-", "_")
    if not _STEM.fullmatch(prefix + path.stem) or keyword.iskeyword(name):
        raise _bad_file(root, path, "the file name is not made of a-z, 0-9, _ and -")
    return name


def _compile(root: Path, path: Path, module: str) -> str | None:
    source = _read(root, path)
    if any(token.kind == "body" for token in tokenize(source)):
        return None
    return compile_page(source.text, module, file=source.file, load=_loader(root, path))


def _loader(root: Path, page: Path) -> Load:
    """Files beside the page come first, then those of views/ at the root."""

    def load(name: str) -> PageSource | None:
        for folder in (page.parent, root / "views"):
            if (folder / name).is_file():
                return _read(root, folder / name)
        return None

    return load


def _read(root: Path, path: Path) -> PageSource:
    try:
        return PageSource(path.relative_to(root).as_posix(), path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _bad_file(root, path, "the file is not UTF-8 text") from None
    except OSError as err:
        raise _bad_file(root, path, f"the file cannot be read: {err.strerror}") from err


def _bad_file(root: Path, path: Path, message: str) -> BuildError:
    file = path.relative_to(root).as_posix()
    return BuildError(f"{file}:1:1: {message}", code="F319", hint="rename it or save it as UTF-8")
