"""What a project's code imports, against what its artifact holds: a start finds nothing else there.

Reads and parses; imports nothing. An artifact runs without site-packages.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import PurePosixPath

from ...errors import BuildError, ErrorGroup
from ..errors import build_error

_STARTS = ("gen/registry.py", "app.py", "resources/*/jobs.py")  # what ops.project imports
_CAUGHT = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_OWN = "forge_min"
_NATIVE = "_native/"


def check_imports(
    project: Mapping[str, bytes], package: Mapping[str, bytes], members: Mapping[str, bytes]
) -> None:
    """Raises BuildError F352 for an import that must fail when the artifact starts, an ErrorGroup
    of them for several; each name is told of once.

    Followed from app.py, gen/ and jobs.py are the imports that always run: those at the top of a
    module or in a class there. What stands in a function, below `if`, or in a `try` that catches
    ImportError may fail. project: its own members. package: all files of forge_min. members: all
    there are.
    """
    there = {name.removeprefix(_NATIVE) for name in members}
    known = {PurePosixPath(name).parts[0].partition(".")[0] for name in there}
    known |= sys.stdlib_module_names
    left_out = package.keys() - there
    waiting = [name for name in project if any(fnmatch(name, start) for start in _STARTS)]
    seen = set(waiting)
    wrong: dict[str, BuildError] = {}
    while waiting:
        file = waiting.pop()
        for line, names in _imports(file, project[file]):
            for name in names:
                top = name.partition(".")[0]
                if top not in known:
                    error = build_error("no_import", file=file, line=line, name=top)
                    wrong.setdefault(top, error)
                elif top == _OWN and not left_out.isdisjoint(_places(name)):
                    error = build_error("import_of_tools", file=file, line=line, name=name)
                    wrong.setdefault(f"{file}:{line}", error)
                found = [place for place in _places(name) if place in project]
                waiting += [place for place in found if place not in seen]
                seen.update(found)
    if len(wrong) > 1:
        raise ErrorGroup("the artifact would not hold what is imported", [*wrong.values()])
    for error in wrong.values():
        raise error


def _places(name: str) -> Iterator[str]:
    """Where the module may lie, and every package that it is in."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = "/".join(parts[:end])
        yield from (f"{path}.py", f"{path}/__init__.py")


def _imports(file: str, data: bytes) -> Iterator[tuple[int, Sequence[str]]]:
    """Line and full names of what a module always imports; of `from a import b` also a.b."""
    package = PurePosixPath(file).parent.parts
    for node in _unconditional(ast.parse(data).body):
        if isinstance(node, ast.Import):
            yield node.lineno, [alias.name for alias in node.names]
        else:
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *filter(None, [node.module])))
            named = [".".join(filter(None, [base, alias.name])) for alias in node.names]
            yield node.lineno, [*filter(None, [base]), *named]


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
    """Whether it catches an ImportError."""
    if handler.type is None:
        return True
    return any(isinstance(n, ast.Name) and n.id in _CAUGHT for n in ast.walk(handler.type))
