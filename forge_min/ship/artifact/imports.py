"""Checks that an artifact contains all modules that the project's code imports at its start.

An artifact runs without site-packages. Code is parsed, and not imported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import PurePosixPath

from ...errors import BuildError, ErrorGroup
from ..errors import build_error

_STARTS = ("gen/registry.py", "app.py", "resources/*/jobs.py")  # imported by ops.project
_CAUGHT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


def check_imports(
    project: Mapping[str, bytes], package: Mapping[str, bytes], members: Mapping[str, bytes]
) -> None:
    """Raise an ErrorGroup with a BuildError F352 for each name whose import would fail at start.

    Only imports that always run are followed from app.py, gen/ and jobs.py: at the top of a module
    or of a class there. Imports in a function, below `if`, or in a `try` that catches ImportError
    may fail.

    project: the project's members.
    package: all files of forge_min.
    members: all members of the artifact.
    """
    present = {name.removeprefix("_native/") for name in members}
    known = set(sys.stdlib_module_names)
    for name in present:
        top = PurePosixPath(name).parts[0]
        known.add(top.partition(".")[0])
    left_out = package.keys() - present
    todo = [name for name in project if any(fnmatch(name, start) for start in _STARTS)]
    seen = set(todo)
    errors: dict[str, BuildError] = {}
    while todo:
        file = todo.pop()
        for line, name in _imports(file, project[file]):
            files = _files_of(name)
            top = name.partition(".")[0]
            if top not in known:
                error = build_error("no_import", file=file, line=line, name=top)
                errors.setdefault(top, error)
            elif top == "forge_min" and not left_out.isdisjoint(files):
                error = build_error("import_of_tools", file=file, line=line, name=name)
                errors.setdefault(f"{file}:{line}", error)
            for path in files:
                if path in project and path not in seen:
                    todo.append(path)
                    seen.add(path)
    if errors:
        raise ErrorGroup("the artifact would lack imported modules", [*errors.values()])


def _files_of(name: str) -> list[str]:
    """Return the possible files of a module and of every package that contains it."""
    files = []
    path = ""
    for part in name.split("."):
        path += part
        files += [f"{path}.py", f"{path}/__init__.py"]
        path += "/"
    return files


def _imports(file: str, data: bytes) -> Iterator[tuple[int, str]]:
    """Yield line and full name of the imports that always run; of `from a import b` also a.b."""
    package = PurePosixPath(file).parent.parts
    for node in _unconditional(ast.parse(data).body):
        base: list[str] = []
        if isinstance(node, ast.ImportFrom):
            if node.level:
                depth = len(package) - node.level + 1
                base += package[:depth]
            if node.module:
                base.append(node.module)
            if base:
                yield node.lineno, ".".join(base)
        for alias in node.names:
            yield node.lineno, ".".join([*base, alias.name])


def _unconditional(body: Sequence[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from _unconditional(node.body)
        elif isinstance(node, ast.Try | ast.TryStar):
            if not any(map(_catches, node.handlers)):
                yield from _unconditional([*node.body, *node.orelse])
            yield from _unconditional(node.finalbody)


def _catches(handler: ast.ExceptHandler) -> bool:
    """Return whether it catches an ImportError."""
    if handler.type is None:
        return True
    names = [node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)]
    return not _CAUGHT.isdisjoint(names)
