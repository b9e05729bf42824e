"""The data files of packages: statements, tables, templates, assets. From folders and artifacts."""

from __future__ import annotations

import os
from functools import cache
from importlib import resources, util
from importlib.resources.abc import Traversable
from zipfile import Path, ZipFile
from zipimport import zipimporter


def files(package: str) -> Traversable:
    """The folder of a package (dotted name), as importlib.resources.files gives it. Raises
    ModuleNotFoundError.

    PERF: that reads an artifact's table of contents anew for each call, and keeps it: 10 ms and a
    megabyte (benchmarks/http, resident memory). Here a process reads it once.
    """
    spec = util.find_spec(package)
    loader = spec and spec.loader
    if not isinstance(loader, zipimporter):
        return resources.files(package)
    # SAFETY: a forked child shares its parent's place in an open file, so it opens its own.
    archive = _opened(loader.archive, os.getpid())
    return Path(archive, f"{loader.prefix}{package.rpartition('.')[2]}/")


@cache
def _opened(archive: str, pid: int) -> ZipFile:
    return ZipFile(archive)
