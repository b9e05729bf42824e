"""A project's files out of its resources: gen/ as a whole, and what is scaffolded once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import BuildError, UsageError
from ..pages import compile_pages
from ..parse import ResourceIR
from . import render
from .scaffold import scaffold
from .tree import Report, write_tree

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def generate(root: Path, resources: Sequence[ResourceIR], *, check: bool = False) -> Report:
    """Write gen/ below `root` for all `resources` and pages; with `check` only compare.

    BuildError F301 to F304 of the tree, ErrorGroup with what is wrong in pages.
    """
    by_name = {resource.name: resource for resource in resources}
    ordered = sorted(resources, key=lambda resource: resource.folder)
    sets = [render.render_resource(resource, by_name) for resource in ordered]
    sets += [render.render_project(ordered), compile_pages(root)]
    files: dict[str, str] = {}
    for one in sets:
        for path in one.keys() & files.keys():
            raise BuildError(f'"{path}" is generated twice', code="F303", hint="rename a resource")
        files |= one
    return write_tree(root / "gen", files, check=check)


def scaffold_resource(root: Path, resource: ResourceIR) -> list[str]:
    """Write the files of a resource that are the user's; never one that is there. Paths written."""
    return scaffold(root, render.scaffold_files(resource))


def scaffold_project(path: Path, name: str) -> list[str]:
    """Start a project in the folder `path`, which must be empty or not there. Paths written."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a project", hint="use a-z, 0-9, _ and -: for example shop"
        )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is already there and not empty", hint="choose another name")
    return scaffold(path, render.project_files(name))
