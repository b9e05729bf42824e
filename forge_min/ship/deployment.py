"""The files that put a project into an image or onto a host, never written over an edit.

The first line of each holds the hash of the rest, so that an edited file is known from one of ours.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Literal
from urllib.parse import quote

from ..config import Config, load
from ..resources import files, table
from .artifact.archive import replace_file
from .artifact.distributions import BASE, DRIVERS
from .errors import build_error
from .project import read_project, secret_names
from .vendor.wheel import OWN, Wheel, is_musl, wheel_for
from .vendor.wheelhouse import FOLDER, LOCK, WHEELS, read_wheelhouse

Base = Literal["alpine", "debian"]
Also = Literal["compose", "systemd"]
Source = Literal["vendor", "wheel", "pure"]
_MARK = "# forge: sha256="
_TABLE = table(__package__, "templates/deployment.toml")
_LIBC: dict[Base, str] = {"alpine": "musllinux", "debian": "manylinux"}  # in names of wheels
_OWN = "wheels"  # the folder for the wheel of the forge_min that runs here
_PORTS = {"server": 8000, "admin": 9090}  # where forge.toml says 0
_SEPARATOR, _SEPARATORS = re.compile(r"\.|__?|-+"), re.compile(r"[._-]+")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*\Z")


@dataclass(frozen=True, slots=True)
class DeployResult:
    """Names of files in the project: written now, and those that were as they should be. source:
    where the image gets forge_min from, "pure" is a wheel without a core; place: the folder, or
    the wheel as pip is asked for it.
    """

    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    source: Source
    place: str


def deploy(
    root: Path,
    *,
    base: Base | None = None,
    vendor: Path | None = None,
    also: Collection[Also] = (),
    force: bool = False,
    check: bool = False,
) -> DeployResult:
    """Writes the files for an image of the project at `root`; with `check`, only compares.

    base: None is the one whose C library this machine has. vendor: a folder in the project that
    `vendor` has filled: the image is built from it alone, without a network. None is the project's
    own vendor/ if the base can load its core, else a wheel of the forge_min that runs here,
    without its core if the base cannot load that. also: "compose" for compose.yaml, "systemd" for
    a socket and two services in systemd/.

    Raises BuildError F360 when a file was edited and `force` is missing (then nothing is written),
    F361 when `check` finds a file that is missing or differs, F362 for a vendor folder that cannot
    be used, F371 for a wheel in it that its lock does not name, F345 when a file cannot be written;
    as `wheel_for`.
    """
    base = base or ("alpine" if is_musl() else "debian")
    vendor = vendor or _filled(root, base)
    wheel = None if vendor else wheel_for(_LIBC[base])
    pure = wheel is not None and wheel.file.endswith("-none-any.whl")
    source: Source = "vendor" if vendor else "pure" if pure else "wheel"
    values = _values(root, base, _vendored(root, vendor) if vendor else "", wheel, source)
    wanted = dict(_marked(values, also))
    if wheel is not None:
        wanted[f"{_OWN}/{wheel.file}"] = wheel.data
    found = {name: _read(root / name) for name in wanted}
    differing = sorted(name for name in wanted if found[name] != wanted[name])
    if check and differing:
        raise build_error("differs", names=", ".join(differing))
    texts = (name for name in differing if not name.startswith(f"{_OWN}/"))
    edited = [name for name in texts if not _is_ours(found[name])]
    if edited and not force:
        raise build_error("edited", names=", ".join(edited))
    for name in differing:
        replace_file(root / name, wanted[name], "file_not_written")
    unchanged = tuple(sorted(wanted.keys() - set(differing)))
    return DeployResult(
        tuple(differing), unchanged, source, values["vendor"] or values["forge_min"]
    )


def _filled(root: Path, base: Base) -> Path | None:
    """The project's own vendor folder if it is whole, and has a core that the base can load."""
    folder = root / FOLDER
    wheelhouse = read_wheelhouse(folder)
    own = () if wheelhouse is None or next(_lacking(folder), "") else wheelhouse.wheels
    return folder if any(w.name == OWN and f"-{_LIBC[base]}" in w.file for w in own) else None


def _vendored(root: Path, vendor: Path) -> str:
    """The vendor folder as the build's context has it. Raises BuildError F362, F371."""
    lacking = next(_lacking(vendor), "")
    if lacking:
        raise build_error("no_vendor", folder=vendor, why=f"there is no {lacking} in it")
    context = root.resolve()
    inside = [vendor, vendor / LOCK, vendor / WHEELS, *(vendor / WHEELS).iterdir()]
    name = Path(os.path.relpath(vendor.resolve(), context)).as_posix()
    reached = all(path.resolve().is_relative_to(context) for path in inside)
    if not reached or not _PLAIN.match(name):
        raise build_error("no_vendor", folder=vendor, why="the build's context does not reach it")
    return name


def _lacking(vendor: Path) -> Iterator[str]:
    """What pip would not find in it."""
    wheelhouse = read_wheelhouse(vendor) if (vendor / LOCK).is_file() else None
    if wheelhouse is None:
        yield LOCK
        return
    there = {wheel.name for wheel in wheelhouse.wheels}
    missing = {OWN, *BASE, DRIVERS["binary"]} - there
    missing.update(wheelhouse.missing())
    yield from (f"{WHEELS}/{name.replace('-', '_')}-*.whl" for name in sorted(missing))


def _values(
    root: Path, base: Base, vendor: str, wheel: Wheel | None, source: Source
) -> dict[str, str]:
    """The words of the templates."""
    project, config = read_project(root), load(root, {})
    values = {
        "name": project.name,
        "repository": _repository(project.name),
        "version": project.version,
        "own": _OWN,
        "forge_min": f"/{_OWN}/{wheel.file}[c]" if wheel else "",
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_role": quote(config.database.app_role, safe=""),
        "vendor": vendor,
        "secrets": "\n".join(f"**/{name}" for name in secret_names()),
        "again": _again(vendor),
        **_ports(config),
    }
    parts = {**_TABLE["base"][base], **_TABLE["admin" if config.admin.enabled else "no_admin"]}
    parts |= _TABLE["pure" if source == "pure" else "compiled"]
    values |= {part: _substitute(text, values) for part, text in parts.items()}
    template = "vendor.tmpl" if vendor else "wheel.tmpl"
    values["install"] = _render(template, values).rstrip()
    return {**values, "library": ""} if vendor else values


def _again(vendor: str) -> str:
    """Lines of .dockerignore about vendor folders. The project's own, from which `build` would take
    its wheels, stays out where pip installs others: its core is another one than the image's.
    """
    own = "" if vendor == FOLDER else f"{FOLDER}\n"
    return own + (f"!{vendor}/wheelhouse\n!{vendor}/requirements.lock\n" if vendor else "")


def _ports(config: Config) -> dict[str, str]:
    """Those of forge.toml. What is 0 there, any free one, is `fixed` for the image."""
    told = {"server": config.server.port, "admin": config.admin.port}
    ports = {name: port or _PORTS[name] for name, port in told.items()}
    free = [name for name, port in told.items() if not port]
    fixed = "".join(f" FORGE_{name.upper()}_PORT={ports[name]}" for name in free)
    return {"port": str(ports["server"]), "admin_port": str(ports["admin"]), "fixed": fixed}


def _repository(name: str) -> str:
    """As an image may be named (OCI distribution): no capitals, and one separator between words."""
    return _SEPARATORS.sub(
        lambda found: found[0] if _SEPARATOR.fullmatch(found[0]) else "-", name.lower()
    ).rstrip("._-")


def _marked(values: Mapping[str, str], also: Collection[Also]) -> Iterator[tuple[str, bytes]]:
    """Every file by its name in the project, the hash of its text before it."""
    for row in _TABLE["file"]:
        if row.get("with") in (None, *also):
            own = {word: _substitute(text, values) for word, text in row.items()}
            text = _render(row["template"], {**own, **values})
            mark = f"{_MARK}{sha256(text.encode()).hexdigest()}"
            yield own["name"], f"{mark}\n{text}".encode()


def _render(name: str, values: Mapping[str, str]) -> str:
    return _substitute(files(__package__).joinpath("templates", name).read_text("utf-8"), values)


def _substitute(text: str, values: Mapping[str, str]) -> str:
    return Template(text).substitute(values)


def _is_ours(data: bytes | None) -> bool:
    """Whether nothing is there, or a file whose first line holds the hash of the others."""
    if data is None:
        return True
    first, _, rest = data.partition(b"\n")
    return first == f"{_MARK}{sha256(rest).hexdigest()}".encode()


def _read(path: Path) -> bytes | None:
    """None where nothing is. A link that leads to no file is somebody's, and no text of ours."""
    if path.is_file():
        return path.read_bytes()
    return b"" if path.is_symlink() else None
