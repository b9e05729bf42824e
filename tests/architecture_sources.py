"""The package as test_architecture.py reads it: modules, imports, names, lines, prose."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

CODE = (".py", ".pyx", ".pxi", ".pxd")
_TOKENS_WITHOUT_CODE = {
    tokenize.NL,
    tokenize.COMMENT,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


class Import(NamedTuple):
    """An import of the package by itself, of `names` from the target "db" or "db.connection"."""

    line: int
    target: str
    names: tuple[str, ...]


def modules(package: Path) -> Iterator[tuple[str, Path]]:
    """Every Python module as ("db/connection.py", path)."""
    for path in code_files(package):
        if path.suffix == ".py":
            yield path.relative_to(package).as_posix(), path


def code_files(package: Path) -> list[Path]:
    """Every file that counts as code, Cython included; not the templates that setup.py compiles."""
    paths = sorted(path for path in package.rglob("*.p*") if path.suffix in CODE)
    return [path for path in paths if not _is_compiled_template(path)]


def _is_compiled_template(path: Path) -> bool:
    return path.parent.name == "templates" and path.name != "__init__.py"


def package_of(name: str) -> str:
    """The top-level package or module of "db/connection.py": "db"."""
    top = name.partition("/")[0].partition(".")[0]
    return "_fanout" if top.startswith("_fanout") and not top.endswith("_py") else top


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return _parsed(path.read_text("utf-8"))


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def imports(name: str, path: Path) -> tuple[Import, ...]:
    """Imports of the package by itself, in functions and under TYPE_CHECKING too."""
    return _imports(name.count("/"), path.read_text("utf-8"))


@cache
def _imports(depth: int, text: str) -> tuple[Import, ...]:
    found = []
    for node in ast.walk(_parsed(text)):
        if isinstance(node, ast.ImportFrom) and node.level == depth + 1:
            names = tuple(alias.name for alias in node.names)
            for target in [node.module] if node.module else names:
                target = "__init__" if target == "__version__" else target
                found.append(Import(node.lineno, target, names if node.module else ()))
    return tuple(found)


def code_lines(path: Path) -> int:
    """Lines of code: no blanks, comments and docstrings. Works for Cython too."""
    return _code_lines(path.read_bytes())


@cache
def _code_lines(text: bytes) -> int:
    lines: set[int] = set()
    new_statement = True
    for token in tokenize.tokenize(io.BytesIO(text).readline):
        if token.type == tokenize.NEWLINE:
            new_statement = True
        elif token.type not in _TOKENS_WITHOUT_CODE:
            docstring = new_statement and token.type == tokenize.STRING
            lines.update(() if docstring else range(token.start[0], token.end[0] + 1))
            new_statement = False
    return len(lines)


def public_definitions(
    parent: ast.Module | ast.ClassDef, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    """("Server.start", node) of each public class, function and method."""
    for node in parent.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
        if node.name.startswith("_") or decorators & {"overload", f"{node.name}.setter"}:
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from public_definitions(node, f"{prefix}{node.name}.")


def skipped_formats(text: str) -> Iterator[int]:
    """Lines with `# fmt: skip`."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and token.string.startswith("# fmt: skip"):
            yield token.start[0]


# -- prose -----------------------------------------------------------------------------------------

_SENTENCE = re.compile(r"[A-Za-z]+ [A-Za-z]+ [A-Za-z]+")
_SQL = re.compile(r"\s*(select|insert|update|delete|create|alter|with|drop|grant)\b", re.I)
DIALECT = re.compile(
    r"\b(?:who|whom|whose|whoever|whomever|somebody|nobody|anybody|everybody)\b"
    r"|\b(?:tells?|told|says|said|hears?|heard)\b"
    r"|(?:^|[\s(,;:])[Ww]hat (?:is|was|are|were|has|have|had|it|they|he|a|an|the|this|each|one|no"
    r"|does|did|can|may|comes|goes|came|went|stands|lies|lay)\b"
    r"|\b(?:is|are|was|were) (?:none|no)\b(?! longer)"
    r"|\b\w+ alone\b"
    r"|(?:^|[.;:,(]\s*|\s)[Ww]here (?:there|it|that|this|one|the|a|no|nothing|they|he)\b"
    r"|^\s*(?:#\s*)?As (?:of )?`"
    r"|\b(?:meanwhile|goes on|go on|lies|stands|stood|comes back|came back|in place of)\b",
    re.MULTILINE,
)


def prose(path: Path) -> Iterator[str]:
    """What a person reads in a file: docstrings, comments, sentences in literals, Markdown."""
    text = path.read_text("utf-8", errors="ignore")
    if path.suffix == ".py":
        yield from _python_prose(text)
    elif path.suffix in (".md", ".pot", ".html"):
        yield from _markup_prose(text)
    else:
        yield from _commented_prose(text)


def _python_prose(text: str) -> Iterator[str]:
    for node in ast.walk(_parsed(text)):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and _SENTENCE.search(value) and not _SQL.match(value):
            yield value
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("# ")


def _commented_prose(text: str) -> Iterator[str]:
    inside = False
    for line in text.splitlines():
        if line.count('"""') == 1:
            inside = not inside
            yield line
        elif inside or '"""' in line:
            yield line
        elif "#" in line:
            yield line.partition("#")[2]
        elif "--" in line:
            yield line.partition("--")[2]
        elif _SENTENCE.search(line) and ('"' in line or "'" in line):
            yield line


def _markup_prose(text: str) -> Iterator[str]:
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            yield re.sub(r"`[^`]*`", "X", line)
