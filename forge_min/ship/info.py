"""The build info: what an artifact is, from which named inputs, for which Python and machine."""

from __future__ import annotations

import platform
import zlib
from collections.abc import Iterable, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution
from pathlib import Path

from .. import __version__
from ..data import files
from ..manifest import Manifest
from .origin import commit, source_date
from .project import Project, generating, style_sources
from .stylesheets import MADE, asks_for_tailwind

SKIPPED = "skipped"  # by --skip-css


def build_info(
    project: Project,
    sources: Mapping[str, bytes],
    distributions: Iterable[Distribution],
    *,
    files: Iterable[str],
    driver: str,
    skip_css: bool = False,
) -> dict[str, object]:
    """What is known of an artifact before its modules are compiled: all inputs by name. driver:
    psycopg's implementation, "binary" or "c". skip_css: whether its stylesheets went in unseen.
    sources: the members so far. files: the project's own, of which a commit must have each.

    Raises BuildError F347 when SOURCE_DATE_EPOCH is no date, F353 as `origin.commit`.
    """
    core = any(name.startswith("_native/forge_min/_fanout") for name in sources)
    return {
        "name": project.name,
        "version": project.version,
        "commit": commit(project.root, files),
        "date": source_date(project.root),
        "python": platform.python_version(),
        "suffix": EXTENSION_SUFFIXES[0],
        "machine": platform.machine(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "impl": "c" if core else "python",
        "driver": driver,
        "css": SKIPPED if skip_css else "made",
        "inputs": {"forge-min": __version__, **{d.name: d.version for d in distributions}},
        "sources": Manifest.of({**sources, **_builders()}).digest,
    }


def files_of_git(project: Project, own: Iterable[str]) -> set[str]:
    """Names of what a commit must have: what goes in, and what gen/ and the stylesheet, which a
    build makes, come from. own: the project's members.
    """
    found = {*own, *generating(project.root)}
    if asks_for_tailwind(project):
        found = (found | style_sources(project).keys()) - {MADE}
    return {name for name in found if not name.startswith("gen/")}


def with_hashes(info: Mapping[str, object], members: Mapping[str, bytes]) -> dict[str, object]:
    """The value of build-info.json, once every member is there: all of them by one hash."""
    manifest = Manifest.of(members)
    native = manifest.only(name for name in members if name.startswith("_native/"))
    return {
        **info,
        "manifest": manifest.digest,
        "native": native.digest,
        "native_files": dict(sorted(native.hashes.items())),
    }


def _builders() -> dict[str, bytes]:
    """What makes an artifact of the sources: this room."""
    here = Path(str(files(__package__)))
    found = sorted(here.rglob("*.py"))
    return {f"(ship)/{p.relative_to(here).as_posix()}": p.read_bytes() for p in found}
