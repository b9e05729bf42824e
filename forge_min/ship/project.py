"""A user's project as members of an artifact: code, gen/, migrations, static files, forge.toml.

Reads and parses; imports nothing of it. What goes in of the code: app.py, gen/, resources/ without
schemas and views, and every module beside app.py that one of those imports.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..config import load
from . import origin
from .failure import failure

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_SOURCES = ("gen", "resources")
_FOR_TESTS = {"factory.py", "messages.pot"}  # in gen/: for tests and translators
_SECRET = re.compile(
    r"""\.env(?:\..+)?|id_(?:rsa|dsa|ecdsa|ed25519)|\.(?:git|htpasswd|netrc|pgpass|npmrc|pypirc)
    |.*\.(?:key|p12|pfx|jks|kdbx|keystore|sqlite3?|dump|bak)
    |.*(?:credential|secret|password)s?\.(?:json|ya?ml|toml|ini|txt|csv)""",
    re.I | re.X,
)
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{36}\b")
_MADE = {"schema.py", "views"}  # of a resource: gen/ holds what they became

# SAFETY: where Tailwind looks for plugins, which are code, and for what stands for a stylesheet.
_NO_SOURCE = {"node_modules", "package.json"}


@dataclass(frozen=True, slots=True)
class Project:
    """What forge.toml says of a project. root: its folder; name is also the artifact's. version:
    without one there, as `origin.version`. css: the source of its stylesheet, which need not be
    there. scripts: as assets.scripts has them.
    """

    root: Path
    name: str
    version: str
    css: str
    scripts: Mapping[str, Mapping[str, str]]


def read_project(root: Path) -> Project:
    """Reads the whole forge.toml, but not the environment.

    Raises BuildError F340 without forge.toml, app.py or a usable name; what config.load raises.
    """
    file = root / "forge.toml"
    if not file.is_file() or not (root / "app.py").is_file():
        raise failure("no_project", root=root)
    config = load(root, {})
    told = config.project
    version = config.sources["project.version"] == "default" and origin.version(root)
    version = version or told.version
    for key, value in (("name", told.name), ("version", version)):
        if not _NAME.match(value):
            raise failure("bad_name", key=key, value=value, file=file)
    css, scripts = os.path.normpath(config.assets.css), config.assets.scripts
    return Project(root, told.name, version, css, scripts)


def project_members(root: Path) -> dict[str, bytes]:
    """Every file of the project that an artifact carries, by its name inside.

    Raises BuildError F343 for a symbolic link, a special file, and what in static/, where browsers
    may ask for everything, looks like a secret; F344 for Python that is none.
    """
    data = [root / "forge.toml", *(root / "migrations").glob("*.sql"), *_files(root / "static")]
    data += (root / "locale").rglob("*.mo")
    chosen = sorted({*data, *_code(root)})
    found = {path.relative_to(root).as_posix(): _read(root, path) for path in chosen}
    secret = [p for p in (root / "static").rglob("*") if _SECRET.fullmatch(p.name)]
    secret += [
        root / n for n, data in found.items() if n.startswith("static/") and _KEY.search(data)
    ]
    if secret:
        raise failure("secret", path=min(secret).relative_to(root))
    return found


def style_sources(project: Project) -> dict[str, bytes]:
    """What a stylesheet is made from, by name: the stylesheets beside its source, and what names
    classes: views, code, scripts. Raises as `project_members`, F343 for a source outside.
    """
    root, source = project.root, project.root / project.css
    if project.css.startswith((os.sep, os.pardir)):
        raise failure("link", path=project.css)
    chosen = {source, *source.parent.glob("*.css"), *(root / "static").rglob("*.js")}
    chosen |= {*(root / "views").rglob("*.html"), *(root / "resources").glob("*/views/**/*.html")}
    chosen |= {path for path in _code(root) if root / "gen" not in path.parents}
    chosen.discard(root / "static" / "css" / "app.css")
    named = {path.relative_to(root).as_posix(): path for path in chosen if not _is_folder(path)}
    found = (name for name in named if _NO_SOURCE.isdisjoint(name.lower().split("/")))
    return {name: _read(root, named[name]) for name in sorted(found)}


def _code(root: Path) -> set[Path]:
    """app.py, the sources, and what they import from beside app.py, followed to the end."""
    resources = root / "resources"
    waiting = [root / "app.py", *(p for p in _files(root / "gen") if p.name not in _FOR_TESTS)]
    waiting += [
        p for p in _files(resources) if not _MADE.intersection(p.relative_to(resources).parts[1:2])
    ]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _beside(root, _imported(root, path) if path.suffix == ".py" else ())
    return found


def _imported(root: Path, path: Path) -> set[str]:
    """The top-level names that a file imports absolutely."""
    try:
        tree = ast.parse(_read(root, path))
    except (SyntaxError, ValueError) as err:
        line = getattr(err, "lineno", None) or 1
        why = getattr(err, "msg", err)
        raise failure("no_python", file=path.relative_to(root), line=line, why=why) from err
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _beside(root: Path, names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        if name in _SOURCES or name == "forge_min":
            continue
        if (root / f"{name}.py").is_file():
            yield root / f"{name}.py"
        elif (root / name).is_dir():
            yield from _files(root / name)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below the folder, hidden ones and caches left out."""
    for path in sorted(folder.rglob("*")):
        way = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in way)
        if not hidden and (path.is_symlink() or not path.is_dir()):
            yield path


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _read(root: Path, path: Path) -> bytes:
    """The file's bytes; nothing outside the project gets in through a link."""
    way = [path, *path.parents][: len(path.parts) - len(root.parts)]
    if any(step.is_symlink() for step in way) or not path.is_file():
        raise failure("link", path=path.relative_to(root))
    return path.read_bytes()
