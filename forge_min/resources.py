"""The data files of packages (statements, tables, templates, assets), in folders and artifacts."""

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
"""The suffix of a table's name if it is stored as JSON."""


def files(package: str) -> Traversable:
    """Return the folder of a package (dotted name), as importlib.resources.files does.

    Raises ModuleNotFoundError.

    PERF: importlib.resources loads 30 modules, opens an artifact and reads its table of contents
    again at each call: 40 ms until a process responds (benchmarks/observe/traces.py). This function
    uses the importer's copy.
    """
    spec = util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    if isinstance(spec.loader, zipimporter):
        path = spec.loader.prefix + package.rpartition(".")[2]
        return cast("Traversable", ArchivePath(spec.loader, path))
    return Path(next(iter(spec.submodule_search_locations or ())))


def manual() -> Traversable | None:
    """Return the folder of the rendered manual of this version.

    None: a checkout before `make docs`, or an artifact that was built without --with-manual.
    """
    folder = files("forge_min").joinpath("_manual")
    if folder.joinpath("index.html").is_file():
        return folder
    return None


def manual_url(code: str) -> str:
    """Return the URL of an error code's section of the manual; "" without a manual in a folder."""
    folder = manual()
    if not isinstance(folder, Path):
        return ""
    page = folder / "reference" / "errors.html"
    return f"{page.as_uri()}#{code.lower()}"


def linked(code: str) -> str:
    """Return an error code for a terminal, which opens its section of the manual (OSC 8)."""
    link = manual_url(code)
    if not link:
        return code
    return f"\x1b]8;;{link}\x1b\\{code}\x1b]8;;\x1b\\"


def table(package: str, name: str) -> dict[str, Any]:
    """Return a TOML table of a package.

    PERF: an artifact stores it as JSON as well, which is read twenty times as fast: 20 ms until a
    process responds (benchmarks/observe/traces.py).
    """
    folder = files(package)
    copy = folder.joinpath(name + JSON)
    if copy.is_file():
        result: dict[str, Any] = json.loads(copy.read_bytes())
        return result
    import tomllib

    return tomllib.loads(folder.joinpath(name).read_text("utf-8"))


class ArchivePath:
    """A file or folder in an artifact: `importlib.resources.abc.Traversable` with `parent`.

    It keeps no file open, so a forked child may use it.

    at: the path inside; "" is the whole artifact.
    """

    def __init__(self, loader: zipimporter, at: str) -> None:
        self._loader = loader
        self._at = at.strip(os.sep)

    @property
    def archive(self) -> str:
        """The path of the artifact."""
        return self._loader.archive

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._at.rpartition(os.sep)[2]

    @property
    def parent(self) -> ArchivePath:
        """The folder that contains it."""
        return ArchivePath(self._loader, self._at.rpartition(os.sep)[0])

    def joinpath(self, *parts: str) -> ArchivePath:
        """Return the path below it."""
        return ArchivePath(self._loader, os.sep.join([self._at, *parts]))

    def __truediv__(self, part: str) -> ArchivePath:
        return self.joinpath(part)

    def is_file(self) -> bool:
        """Return whether a file has this path."""
        return self._at in self._names()

    def is_dir(self) -> bool:
        """Return whether a file is below it."""
        return bool(self._names_below())

    def iterdir(self) -> Iterator[ArchivePath]:
        """Yield its files and folders."""
        names = dict.fromkeys(path.partition(os.sep)[0] for path in self._names_below())
        for name in names:
            if name:
                yield self / name

    def _names_below(self) -> list[str]:
        """Return the names of the files below it, relative to it."""
        prefix = f"{self._at}{os.sep}" if self._at else ""
        return [name[len(prefix) :] for name in self._names() if name.startswith(prefix)]

    def read_bytes(self) -> bytes:
        """Return the content of the file. Raises FileNotFoundError."""
        if not self.is_file():
            raise FileNotFoundError(f"{self._loader.archive} has no file {self._at!r}")
        return self._loader.get_data(self._at)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """Return the content of the file as text, with this system's line ends."""
        return str(self.open("r", encoding=encoding, errors=errors).read())

    def open(self, mode: str = "r", *args: Any, **options: Any) -> IO[Any]:
        """Return the file, loaded into memory."""
        data = io.BytesIO(self.read_bytes())
        if "b" in mode:
            return data
        return io.TextIOWrapper(data, *args, **options)

    def _names(self) -> dict[str, Any]:
        # The importer's table of contents, with the path separator of this system.
        importer: Any = self._loader
        if hasattr(importer, "_get_files"):
            return cast("dict[str, Any]", importer._get_files())
        return cast("dict[str, Any]", importer._files)

    def __str__(self) -> str:
        return os.path.join(self._loader.archive, self._at)
