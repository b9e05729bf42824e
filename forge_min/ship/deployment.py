"""The files that put a project into an image or onto a host; edited files are not replaced.

The first line of each file has the hash of the other lines, so that edits are detected.
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
from .artifact.distributions import BASE, DRIVERS, normalise
from .errors import build_error
from .project import read_project, secret_names
from .vendor.wheel import OWN, is_musl, wheel_for
from .vendor.wheelhouse import FOLDER, LOCK, WHEELS, read_wheelhouse

Base = Literal["alpine", "debian"]
Also = Literal["compose", "systemd", "haproxy", "patroni", "kubernetes"]
Source = Literal["vendor", "wheel", "pure"]
_MARK = "# forge: sha256="
_TABLE = table(__package__, "templates/deployment.toml")
_LIBC = {"alpine": "musllinux", "debian": "manylinux"}  # in names of wheels
_OWN = "wheels"  # the folder for the wheel of the running forge_min
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*\Z")


@dataclass(frozen=True, slots=True)
class DeployResult:
    """The result of a deploy.

    written, unchanged: names of files in the project.
    source: the origin of the image's forge_min; "pure" is a wheel without a core.
    place: the vendor folder, or the wheel as an argument of pip.
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
    """Write the files for an image of the project at `root`.

    base: the base image; None for the one with this machine's C library.
    vendor: a folder in the project that `vendor` has filled, from which the image is built without
        a network. None for the project's own vendor/ if the base can load its core, else for a
        wheel of the running forge_min, without a core if the base cannot load this one.
    also: "compose" for compose.yaml; "systemd", "haproxy", "patroni" and "kubernetes" for the files
        in the folder of that name.
    force: replace edited files.
    check: compare, and write nothing.

    Raises BuildError F360 if a file was edited, without writing anything; F361 if `check` finds a
    missing or different file; F362 for an unusable vendor folder; F363 if a probe needs a setting
    that forge.toml turns off; F371 for a wheel that the folder's lock does not name; F002 if a file
    cannot be written; the errors of `wheel_for`.
    """
    base = base or ("alpine" if is_musl() else "debian")
    config = load(root, {})
    _check_probes(config, also)
    vendor = vendor or _default_vendor(root, base)
    if vendor:
        wheel = None
        source: Source = "vendor"
        place = _vendored(root, vendor)
    else:
        wheel = wheel_for(_LIBC[base])
        source = "wheel"
        if wheel.file.endswith("-none-any.whl"):
            source = "pure"
        place = f"/{_OWN}/{wheel.file}[c]"
    values = _values(root, config, base, source, place)
    contents = dict(_marked(values, also))
    if wheel:
        contents[f"{_OWN}/{wheel.file}"] = wheel.data
    differing = []
    edited = []
    for name in sorted(contents):
        present = _read(root / name)
        if present == contents[name]:
            continue
        differing.append(name)
        is_text = not name.startswith(f"{_OWN}/")
        if is_text and not _is_unedited(present):
            edited.append(name)
    if check and differing:
        raise build_error("differs", names=", ".join(differing))
    if edited and not force:
        raise build_error("edited", names=", ".join(edited))
    for name in differing:
        replace_file(root / name, contents[name], "file_not_written")
    unchanged = sorted(contents.keys() - set(differing))
    return DeployResult(tuple(differing), tuple(unchanged), source, place)


def _check_probes(config: Config, also: Collection[Also]) -> None:
    """Raise BuildError F363 if a probe in these files needs a setting that is turned off."""
    if not config.server.ready_path and {"haproxy", "kubernetes"}.intersection(also):
        raise build_error("no_probe", key="server.ready_path")
    if not config.admin.enabled and "kubernetes" in also:
        raise build_error("no_probe", key="admin.enabled")


def _default_vendor(root: Path, base: Base) -> Path | None:
    """Return the project's vendor folder if it is complete and has a core for the base."""
    folder = root / FOLDER
    wheelhouse = read_wheelhouse(folder)
    if wheelhouse is None or _missing(folder):
        return None
    for wheel in wheelhouse.wheels:
        if wheel.name == OWN and f"-{_LIBC[base]}" in wheel.file:
            return folder
    return None


def _vendored(root: Path, vendor: Path) -> str:
    """Return the vendor folder's path in the build context. Raises BuildError F362, F371."""
    missing = _missing(vendor)
    if missing:
        raise build_error("no_vendor", folder=vendor, why=f"it has no {missing}")
    context = root.resolve()
    wheels = vendor / WHEELS
    paths = [vendor, vendor / LOCK, wheels, *wheels.iterdir()]
    included = all(path.resolve().is_relative_to(context) for path in paths)
    name = Path(os.path.relpath(vendor.resolve(), context)).as_posix()
    if not included or not _PLAIN.match(name):
        raise build_error("no_vendor", folder=vendor, why="it is outside of the build context")
    return name


def _missing(vendor: Path) -> str:
    """Return a file that pip would not find in the folder; "" if it would find all."""
    if not (vendor / LOCK).is_file():
        return LOCK
    wheelhouse = read_wheelhouse(vendor)
    assert wheelhouse is not None
    names = {wheel.name for wheel in wheelhouse.wheels}
    missing = {OWN, *BASE, DRIVERS["binary"]} - names
    missing.update(wheelhouse.missing())
    if not missing:
        return ""
    name = min(missing).replace("-", "_")
    return f"{WHEELS}/{name}-*.whl"


def _values(root: Path, config: Config, base: Base, source: Source, place: str) -> dict[str, str]:
    """Return the values of the templates. place: the vendor folder, or the wheel for pip."""
    project = read_project(root)
    vendor = ""
    template = "wheel.tmpl"
    if source == "vendor":
        vendor = place
        template = "vendor.tmpl"
    values = {
        "name": project.name,
        "repository": normalise(project.name).rstrip("-"),  # a valid name of an image (OCI)
        "version": project.version,
        "own": _OWN,
        "forge_min": place,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_role": quote(config.database.app_role, safe=""),
        "vendor": vendor,
        "ready_path": config.server.ready_path,
        "secrets": "\n".join(f"**/{name}" for name in secret_names()),
        "vendor_rules": _vendor_rules(vendor),
    }
    values |= _ports(config)
    admin = "admin" if config.admin.enabled else "no_admin"
    core = "pure" if source == "pure" else "compiled"
    parts = _TABLE["base"][base] | _TABLE[admin] | _TABLE[core] | _TABLE["kubernetes"]
    for part, text in parts.items():
        values[part] = Template(text).substitute(values)
    values["install"] = _render(template, values).rstrip()
    if vendor:
        values["library"] = ""
    return values


def _vendor_rules(vendor: str) -> str:
    """Return the lines of .dockerignore about vendor folders.

    The project's own folder is excluded if the image is built from other wheels: `build` would use
    its core, which the image cannot load.
    """
    if vendor == FOLDER:
        rules = ""
    else:
        rules = f"{FOLDER}\n"
    if vendor:
        rules += f"!{vendor}/wheelhouse\n!{vendor}/requirements.lock\n"
    return rules


def _ports(config: Config) -> dict[str, str]:
    """Return the ports of forge.toml; 0, any free port, becomes a fixed one in the image."""
    fixed = ""
    port = config.server.port
    if not port:
        port = 8000
        fixed += f" FORGE_SERVER_PORT={port}"
    admin_port = config.admin.port
    if not admin_port:
        admin_port = 9090
        fixed += f" FORGE_ADMIN_PORT={admin_port}"
    return {"port": str(port), "admin_port": str(admin_port), "fixed": fixed}


def _marked(values: dict[str, str], also: Collection[Also]) -> Iterator[tuple[str, bytes]]:
    """Yield each file's name in the project and its content, after a line with its hash."""
    for row in _TABLE["file"]:
        if row.get("with") not in (None, *also):
            continue
        options = {word: Template(text).substitute(values) for word, text in row.items()}
        text = _render(row["template"], options | values)
        digest = sha256(text.encode()).hexdigest()
        yield options["name"], f"{_MARK}{digest}\n{text}".encode()


def _render(name: str, values: Mapping[str, str]) -> str:
    text = files(__package__).joinpath("templates", name).read_text("utf-8")
    return Template(text).substitute(values)


def _is_unedited(data: bytes | None) -> bool:
    """Return whether the file is missing, or its first line has the hash of the other lines."""
    if data is None:
        return True
    first, _, rest = data.partition(b"\n")
    return first == f"{_MARK}{sha256(rest).hexdigest()}".encode()


def _read(path: Path) -> bytes | None:
    """Return the file's bytes, None if nothing has this path, b"" for a link to no file."""
    if path.is_file():
        return path.read_bytes()
    if path.is_symlink():
        return b""
    return None
