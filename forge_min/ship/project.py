"""The members of an artifact that come from the user's project.

They are forge.toml, migrations, static files, translations and code: app.py, gen/, resources/
without schemas and views, and the modules beside app.py that these import. Files are read and
parsed; no code of the project is imported.
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
from ..errors import ForgeError
from ..parse import Parsed, parse_project
from ..resources import table
from . import provenance
from .errors import build_error, unreadable

_FORBIDDEN = {"Cc", "Cs", "Zl", "Zp"}  # categories: control, undecodable, line and paragraph ends
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_NOT_BESIDE = {"gen", "resources", "forge_min"}
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
_FOR_BROWSERS = (".js", ".mjs", ".html", ".map")  # may hold keys of Google Maps, which are public
_SOURCE_ONLY = {"schema.py", "views"}  # of a resource: gen/ holds the code generated from them
_READ = ("forge.toml", "app.py", "views", "resources", "migrations", "static", "locale")

# SAFETY: Tailwind would look there for plugins, which are code, and for names of stylesheets.
_NO_SOURCE = {"node_modules", "package.json"}


@dataclass(frozen=True, slots=True)
class ProjectInfo:
    """The properties of a project in its forge.toml.

    root: its folder.
    name: its name, also the artifact's.
    version: `project.version`, else as `provenance.version`.
    css: the path of the stylesheet's source, which may not exist.
    secrets: each secret in the file, as "forge.toml:3: auth.secret" → its environment variable.
    """

    root: Path
    name: str
    version: str
    css: str
    secrets: Mapping[str, str]


def read_project(root: Path) -> ProjectInfo:
    """Read forge.toml without the environment.

    Raises BuildError F340 if forge.toml or app.py is missing or a name is not valid, and the
    errors of `config.load`.
    """
    file = root / "forge.toml"
    if not file.is_file() or not (root / "app.py").is_file():
        raise build_error("no_project", root=root)
    config = load(root, {})
    name = config.project.name
    version = config.project.version
    if config.sources["project.version"] == "default":
        version = provenance.version(root) or version
    for key, value in (("name", name), ("version", version)):
        if not _NAME.match(value):
            raise build_error("bad_name", key=key, value=value, file=file)
    css = os.path.normpath(config.assets.css)
    secrets = {}
    for secret in config.secrets():
        secrets[f"{config.sources[secret.name]}: {secret.name}"] = secret.variable
    return ProjectInfo(root, name, version, css, secrets)


def parse_schemas(root: Path) -> Parsed:
    """Return the project's schemas; their roles must be in auth.roles of forge.toml.

    An unreadable forge.toml is not reported here, but by the code that uses the configuration.
    """
    try:
        roles = load(root, {}).auth.roles
    except ForgeError:
        roles = ()
    return parse_project(root, roles)


def check_files(root: Path) -> None:
    """Check every file that a build reads or packs.

    Raises BuildError F343 for a symbolic link or special file, in static/ also if it is hidden, for
    a name that a manifest cannot hold, and for an unreadable folder.
    """
    for name in _READ:
        top = root / name
        if not os.path.lexists(top):
            continue
        for path in (top, *_walk(root, top)):
            parts = path.relative_to(root).parts
            if name == "static" or not _is_hidden(parts):
                _check(root, path)


def project_members(root: Path) -> dict[str, bytes]:
    """Return the project's files in an artifact: bytes by name inside it.

    Raises BuildError F343 as `check_files`, for an unreadable file, and for a file in static/ that
    looks like a secret, because browsers can load it; F344 for invalid Python.
    """
    paths = _code(root)
    paths.add(root / "forge.toml")
    paths.update((root / "migrations").glob("*.sql"))
    paths.update(_files(root, "static"))
    paths.update((root / "locale").rglob("*.mo"))
    members = {}
    secrets = []
    for path in sorted(paths):
        name = path.relative_to(root).as_posix()
        data = _read(root, path)
        members[name] = data
        if name.startswith("static/") and _has_secret(name, data):
            secrets.append(path)
    for path in _walk(root, root / "static"):
        if _is_folder(path) and not path.name.startswith("."):
            continue
        if _SECRET.fullmatch(path.name.lower()):
            secrets.append(path)
    if secrets:
        raise build_error("secret", path=min(secrets).relative_to(root))
    return members


def secret_names() -> Iterator[str]:
    """Yield lower-case patterns of file names that look like secrets, in the syntax of Docker."""
    for name in _NAMES:
        parts = [part.split(",") for part in re.split("[{}]", name)]  # {a,b} is a or b
        for choice in product(*parts):
            yield "".join(choice)


_SECRET = re.compile("|".join(map(fnmatch.translate, [*secret_names(), ".git"])))


def _has_secret(name: str, data: bytes) -> bool:
    """Return whether a static file contains a secret."""
    if _KEY.search(data):
        return True
    return not name.endswith(_FOR_BROWSERS) and _GOOGLE.search(data) is not None


def style_sources(project: ProjectInfo) -> dict[str, bytes]:
    """Return the inputs of the stylesheet: bytes by name.

    They are the stylesheets beside its source, and the views, code and scripts that use classes.
    Raises as `project_members`, and BuildError F343 for a source outside the project.
    """
    root = project.root
    source = root / project.css
    if project.css.startswith((os.sep, os.pardir)):
        raise build_error("link", path=project.css)
    gen = root / "gen"
    paths = {path for path in _code(root) if gen not in path.parents}
    paths.add(source)
    paths.update(source.parent.glob("*.css"))
    paths.update((root / "static").rglob("*.js"))
    paths.update((root / "views").rglob("*.html"))
    paths.update((root / "resources").glob("*/views/**/*.html"))
    paths.discard(root / "static" / "css" / "app.css")
    sources = {}
    for path in sorted(paths, key=str):
        name = path.relative_to(root).as_posix()
        parts = name.lower().split("/")
        if _NO_SOURCE.isdisjoint(parts) and not _is_folder(path):
            sources[name] = _read(root, path)
    return sources


def _code(root: Path) -> set[Path]:
    """Return app.py, gen/, resources/ and all modules beside app.py that they import."""
    todo = [root / "app.py"]
    todo += [path for path in _files(root, "gen") if path.name not in _FOR_TESTS]
    for path in _files(root, "resources"):
        name = path.relative_to(root).parts[2:3]
        if _SOURCE_ONLY.isdisjoint(name):
            todo.append(path)
    seen = set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        if path.suffix == ".py":
            todo += _beside(root, _imported(root, path))
    return seen


def _imported(root: Path, path: Path) -> set[str]:
    """Return the top-level names of the absolute imports of a file."""
    try:
        tree = ast.parse(_read(root, path))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as err:  # nested too deeply
        file = path.relative_to(root)
        line = getattr(err, "lineno", None) or 1
        why = str(getattr(err, "msg", err)) or "too complex"  # MemoryError of Python 3.11
        raise build_error("no_python", file=file, line=line, why=why) from err
    modules = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.append(node.module)
    return {module.partition(".")[0] for module in modules}


def _beside(root: Path, names: set[str]) -> Iterator[Path]:
    for name in names - _NOT_BESIDE:
        module = root / f"{name}.py"
        if module.is_file():
            yield module
        else:
            yield from _files(root, name)


def read_file(root: Path, path: Path) -> bytes:
    """Return the bytes of a file of the project. Raises BuildError F343 if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as err:
        raise unreadable(root, path, err) from err


def _files(root: Path, folder: str) -> Iterator[Path]:
    """Yield every file below the folder, except hidden files and caches."""
    top = root / folder
    for path in sorted(_walk(root, top)):
        parts = path.relative_to(top).parts
        if not _is_hidden(parts) and not _is_folder(path):
            yield path


def _walk(root: Path, top: Path) -> Iterator[Path]:
    """Yield all files and folders below a folder, without following links.

    Raises BuildError F343 for an unreadable folder.
    """

    def stop(err: OSError) -> None:
        raise unreadable(root, Path(err.filename), err) from err

    if not _is_folder(top):
        return
    for folder, folders, files in os.walk(top, onerror=stop):
        for name in (*folders, *files):
            yield Path(folder, name)


def _is_hidden(parts: Iterable[str]) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in parts)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _check(root: Path, path: Path) -> None:
    """Raise BuildError F343 unless it is a file or folder with a name that a manifest can hold."""
    name = path.relative_to(root).as_posix()
    if not name.isascii() and sys.getfilesystemencoding() != "utf-8":
        raise build_error("no_utf8", name=os.fsencode(name).decode("utf-8", "replace"))
    if _FORBIDDEN.intersection(map(unicodedata.category, name)):
        raise build_error("bad_file_name", name=name)
    try:
        mode = path.lstat().st_mode
    except OSError as err:
        raise unreadable(root, path, err) from err
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise build_error("link", path=name)


def _read(root: Path, path: Path) -> bytes:
    """Return the file's bytes. Raises BuildError F343 if it or a folder above it is a link."""
    depth = len(path.parts) - len(root.parts)
    for part in [path, *path.parents][:depth]:
        _check(root, part)
    return read_file(root, path)
