"""A user's project as members of an artifact: code, gen/, migrations, static files, forge.toml.

Reads and parses; imports nothing of it. What goes in of the code: app.py, gen/, resources/ without
schemas and views, and every module beside app.py that one of those imports.
"""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import stat
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from ..config import load
from ..errors import BuildError, ForgeError
from ..parse import Parsed, parse_project
from ..resources import table
from . import provenance
from .errors import build_error

_UNLISTED = {"Cc", "Cs", "Zl", "Zp"}  # control, undecodable, and what ends a line
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_SOURCES = ("gen", "resources")
_FOR_TESTS = {"factory.py", "messages.pot"}  # in gen/: for tests and translators
_NAMES = table(__package__, "templates/secret_names.toml")["names"]
_KEY = re.compile(
    rb"""-----BEGIN\ [A-Z ]*PRIVATE\ KEY(?:\ BLOCK)?-----|\bPuTTY-User-Key-File-\d
    |\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{36}\b|\bgithub_pat_\w{36}|\bglpat-[\w-]{20}
    |\b[sr]k_live_[0-9A-Za-z]{16}|\bxox[abeoprs]-[0-9A-Za-z-]{16}
    |\bFORGE_(?:AUTH_SECRET|ADMIN_TOKEN)["']?\s*[=:]\s*["']?[\w+/=-]{16}
    |(?i:\baws_secret_access_key)["']?\s*[=:]\s*["']?[0-9A-Za-z/+]{40}
    |\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?)
        ://[^\s:/@"'`<>]*:[^\s/@"'`<>${}*\x80-\xff]+@[\w.\[-]""",
    re.X,
)
_GOOGLE = re.compile(rb"\bAIza[\w-]{35}(?![\w-])")
_FOR_BROWSERS = (".js", ".mjs", ".html", ".map")  # their keys for maps are known to everybody
_SOURCE_ONLY = {"schema.py", "views"}  # of a resource: gen/ holds what they became
_READ = ("forge.toml", "app.py", "views", "resources", "migrations", "static", "locale")

# SAFETY: where Tailwind looks for plugins, which are code, and for what stands for a stylesheet.
_NO_SOURCE = {"node_modules", "package.json"}


@dataclass(frozen=True, slots=True)
class ProjectInfo:
    """What forge.toml says of a project. root: its folder; name is also the artifact's. version:
    without one there, as `origin.version`. css: the source of its stylesheet, which need not be
    there. scripts: as assets.scripts has them. secrets: those told there, as "forge.toml:3:
    auth.secret" → the variable that is for it.
    """

    root: Path
    name: str
    version: str
    css: str
    scripts: Mapping[str, Mapping[str, str]]
    secrets: Mapping[str, str]


def read_project(root: Path) -> ProjectInfo:
    """Reads the whole forge.toml, but not the environment.

    Raises BuildError F340 without forge.toml, app.py or a usable name; what config.load raises.
    """
    file = root / "forge.toml"
    if not file.is_file() or not (root / "app.py").is_file():
        raise build_error("no_project", root=root)
    config = load(root, {})
    told = config.project
    version = config.sources["project.version"] == "default" and provenance.version(root)
    version = version or told.version
    for key, value in (("name", told.name), ("version", version)):
        if not _NAME.match(value):
            raise build_error("bad_name", key=key, value=value, file=file)
    css, scripts = os.path.normpath(config.assets.css), config.assets.scripts
    secrets = {f"{config.sources[key.name]}: {key.name}": key.variable for key in config.secrets()}
    return ProjectInfo(root, told.name, version, css, scripts, secrets)


def parse_schemas(root: Path) -> Parsed:
    """The project's schemas, whose roles must be among auth.roles of forge.toml. A forge.toml that
    cannot be read is reported where the configuration is used.
    """
    try:
        roles = load(root, {}).auth.roles
    except ForgeError:
        roles = ()
    return parse_project(root, roles)


def check_files(root: Path) -> None:
    """Looks at everything that a build reads or carries, before anything of it is read.

    Raises BuildError F343 for a symbolic link or a special file, in static/ also a hidden one, for
    a name that no list of files can hold, and for a folder that may not be read.
    """
    for top in (root / name for name in _READ):
        for path in (top, *_walk(root, top)) if os.path.lexists(top) else ():
            way = path.relative_to(root).parts
            if way[0] == "static" or not _is_hidden(way):
                _check(root, path)


def project_members(root: Path) -> dict[str, bytes]:
    """Every file of the project that an artifact carries, by its name inside.

    Raises BuildError F343 as `check_files`, for what may not be read, and for what looks like a
    secret in static/, where browsers may ask for everything; F344 for Python that is none.
    """
    data = [root / "forge.toml", *(root / "migrations").glob("*.sql"), *_files(root, "static")]
    data += (root / "locale").rglob("*.mo")
    chosen = sorted({*data, *_code(root)})
    found = {path.relative_to(root).as_posix(): _read(root, path) for path in chosen}
    given = [p for p in _walk(root, root / "static") if p.name[0] == "." or not _is_folder(p)]
    secret = [path for path in given if _SECRET.fullmatch(path.name.lower())]
    secret += [root / n for n, data in found.items() if n.startswith("static/") and _has(n, data)]
    if secret:
        raise build_error("secret", path=min(secret).relative_to(root))
    return found


def generating(root: Path) -> set[str]:
    """Names of the schemas and views that gen/ is made from."""
    views = [*root.glob("views/*.html"), *root.glob("resources/*/views/*.html")]
    found = [*root.glob("resources/*/schema.py"), *views]
    return {path.relative_to(root).as_posix() for path in found}


def secret_names() -> Iterator[str]:
    """The names of files that look like secrets, in lower case, as a shell and Docker read them."""
    for name in _NAMES:
        parts = [part.split(",") for part in re.split("[{}]", name)]  # {a,b} is a or b
        yield from map("".join, product(*parts))


_SECRET = re.compile("|".join(map(fnmatch.translate, [*secret_names(), ".git"])))


def _has(name: str, data: bytes) -> bool:
    """Whether a file for browsers has the words of a secret in it."""
    public = name.endswith(_FOR_BROWSERS)
    return bool(_KEY.search(data) or (not public and _GOOGLE.search(data)))


def style_sources(project: ProjectInfo) -> dict[str, bytes]:
    """What a stylesheet is made from, by name: the stylesheets beside its source, and what names
    classes: views, code, scripts. Raises as `project_members`, F343 for a source outside.
    """
    root, source = project.root, project.root / project.css
    if project.css.startswith((os.sep, os.pardir)):
        raise build_error("link", path=project.css)
    chosen = {source, *source.parent.glob("*.css"), *(root / "static").rglob("*.js")}
    chosen |= {*(root / "views").rglob("*.html"), *(root / "resources").glob("*/views/**/*.html")}
    chosen |= {path for path in _code(root) if root / "gen" not in path.parents}
    chosen.discard(root / "static" / "css" / "app.css")
    named = {path.relative_to(root).as_posix(): path for path in chosen if not _is_folder(path)}
    found = (name for name in named if _NO_SOURCE.isdisjoint(name.lower().split("/")))
    return {name: _read(root, named[name]) for name in sorted(found)}


def _code(root: Path) -> set[Path]:
    """app.py, the sources, and what they import from beside app.py, followed to the end."""
    waiting = [root / "app.py", *(p for p in _files(root, "gen") if p.name not in _FOR_TESTS)]
    found_there = _files(root, "resources")
    waiting += [
        p for p in found_there if not _SOURCE_ONLY.intersection(p.relative_to(root).parts[2:3])
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
    except (SyntaxError, ValueError, MemoryError, RecursionError) as err:  # nested too deeply
        line = getattr(err, "lineno", None) or 1
        why = str(getattr(err, "msg", err)) or "too complex"  # MemoryError of Python 3.11
        raise build_error("no_python", file=path.relative_to(root), line=line, why=why) from err
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
            yield from _files(root, name)


def read_file(root: Path, path: Path) -> bytes:
    """The bytes of a file of the project. Raises BuildError F343 where it may not be read."""
    try:
        return path.read_bytes()
    except OSError as err:
        raise _unreadable(root, path, err) from err


def _files(root: Path, folder: str) -> Iterator[Path]:
    """Every file below the folder, hidden ones and caches left out."""
    for path in sorted(_walk(root, root / folder)):
        if not _is_hidden(path.relative_to(root / folder).parts) and not _is_folder(path):
            yield path


def _walk(root: Path, top: Path) -> Iterator[Path]:
    """Everything below a folder; links are not followed, and a folder may not be skipped."""

    def stop(err: OSError) -> None:
        raise _unreadable(root, Path(err.filename), err) from err

    if _is_folder(top):
        for folder, folders, files in os.walk(top, onerror=stop):
            yield from (Path(folder, name) for name in (*folders, *files))


def _is_hidden(way: Iterable[str]) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in way)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _check(root: Path, path: Path) -> None:
    """A name that manifest and zip can hold, and no way out of the project."""
    name = path.relative_to(root).as_posix()
    if not name.isascii() and sys.getfilesystemencoding() != "utf-8":  # it is another name there
        raise build_error("no_utf8", name=os.fsencode(name).decode("utf-8", "replace"))
    if _UNLISTED.intersection(map(unicodedata.category, name)):
        raise build_error("bad_file_name", name=name)
    try:
        mode = path.lstat().st_mode
    except OSError as err:
        raise _unreadable(root, path, err) from err
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise build_error("link", path=name)


def _read(root: Path, path: Path) -> bytes:
    """The file's bytes; nothing outside the project gets in through a link."""
    for step in [path, *path.parents][: len(path.parts) - len(root.parts)]:
        _check(root, step)
    if not path.is_file():
        raise build_error("link", path=path.relative_to(root))
    return read_file(root, path)


def _unreadable(root: Path, path: Path, err: OSError) -> BuildError:
    return build_error("unreadable", path=path.relative_to(root), why=err.strerror)
