"""The data files of packages: statements, tables, templates, assets. From folders and artifacts."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from zipimport import zipimporter

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

JSON = ".json"
"""What follows the name of a table where it is kept as JSON."""


def files(package: str) -> Traversable:
    """The folder of a package (dotted name), as importlib.resources.files gives it. Raises
    ModuleNotFoundError.

    PERF: that loads 30 modules, and opens an artifact and reads its table of contents anew for each
    call: 40 ms until a process answers (benchmarks/observe/traces.py). Here the importer is asked.
    """
    spec = util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    if isinstance(spec.loader, zipimporter):
        place = spec.loader.prefix + package.rpartition(".")[2]
        return cast("Traversable", ArchivePath(spec.loader, place))
    return Path(next(iter(spec.submodule_search_locations or ())))


def table(package: str, name: str) -> dict[str, Any]:
    """A TOML table of a package.

    PERF: an artifact holds it as JSON beside, which is read twenty times as fast: 20 ms until a
    process answers (benchmarks/observe/traces.py).
    """
    place = files(package)
    written = place.joinpath(name + JSON)
    if written.is_file():
        found: dict[str, Any] = json.loads(written.read_bytes())
        return found
    import tomllib

    return tomllib.loads(place.joinpath(name).read_text("utf-8"))


class ArchivePath:
    """A file or folder in an artifact: what `importlib.resources.abc.Traversable` asks for, and
    parent. Holds no file open, so a forked child may use it. at: the path inside, "" is all of it.
    """

    def __init__(self, loader: zipimporter, at: str) -> None:
        self._loader, self._at = loader, at.strip(os.sep)

    @property
    def archive(self) -> str:
        """The artifact's own path."""
        return self._loader.archive

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self._at.rpartition(os.sep)[2]

    @property
    def parent(self) -> ArchivePath:
        """The folder that it is in."""
        return ArchivePath(self._loader, self._at.rpartition(os.sep)[0])

    def joinpath(self, *parts: str) -> ArchivePath:
        """What is below it."""
        return ArchivePath(self._loader, os.sep.join([self._at, *parts]))

    def __truediv__(self, part: str) -> ArchivePath:
        return self.joinpath(part)

    def is_file(self) -> bool:
        """Whether there is a file of this path."""
        return self._at in self._names()

    def is_dir(self) -> bool:
        """Whether something lies below it."""
        below = f"{self._at}{os.sep}" if self._at else ""
        return any(name.startswith(below) for name in self._names())

    def iterdir(self) -> Iterator[ArchivePath]:
        """Its files and folders."""
        below = f"{self._at}{os.sep}" if self._at else ""
        rest = (name[len(below) :] for name in self._names() if name.startswith(below))
        for name in dict.fromkeys(part.partition(os.sep)[0] for part in rest):
            if name:
                yield self / name

    def read_bytes(self) -> bytes:
        """The whole file. Raises FileNotFoundError."""
        if not self.is_file():
            raise FileNotFoundError(f"{self._loader.archive}: there is no file {self._at!r}")
        return self._loader.get_data(self._at)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """The whole file as text, with line ends as they are on this system."""
        return str(self.open("r", encoding=encoding, errors=errors).read())

    def open(self, mode: str = "r", *args: Any, **options: Any) -> IO[Any]:
        """The file, which lies in memory by then."""
        data = io.BytesIO(self.read_bytes())
        return data if "b" in mode else io.TextIOWrapper(data, *args, **options)

    def _names(self) -> dict[str, Any]:
        # What the importer has read of the table of contents: a path as the system writes it.
        importer: Any = self._loader
        names: dict[str, Any] = (
            importer._get_files() if hasattr(importer, "_get_files") else importer._files
        )
        return names

    def __str__(self) -> str:
        return os.path.join(self._loader.archive, self._at)
