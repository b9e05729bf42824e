"""The `__main__.py` of an artifact: checks the machine, has compiled parts ready, runs `entry`.

Copied into every artifact as it is; nothing of the package imports it. It must load on any Python
from 3.6 on, because it tells a wrong one that it is wrong: so it is plain and stands alone. A zip
cannot load compiled parts: they are unpacked once into a folder that is named by their digest.
"""

import atexit
import json
import os
import stat
import sys
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import spec_from_file_location
from zipimport import zipimporter

if False:  # for type checkers alone; annotations are strings, so that an old Python can load them
    from collections.abc import Callable, Iterator
    from importlib.machinery import ModuleSpec
    from importlib.metadata import Distribution, DistributionFinder
    from typing import Any


class Importer(zipimporter):
    """Python's own, but finds a module without reading and unmarshalling it to learn its path.

    PERF: a third of the time that 350 modules take (benchmarks/observe/traces.py). names: what the
    artifact holds, by paths as this system writes them.
    """

    names = {}  # type: dict[str, Any]

    def find_spec(self, fullname: str, target: "Any" = None) -> "ModuleSpec | None":
        """As zipimporter, which is asked for all but compiled modules."""
        place = self.prefix + fullname.rpartition(".")[2]
        path = os.path.join(self.archive, place)
        if place + ".pyc" in self.names:
            return spec_from_file_location(fullname, path + ".pyc", loader=self)
        if os.path.join(place, "__init__.pyc") not in self.names:
            return super().find_spec(fullname, target)
        return spec_from_file_location(
            fullname,
            os.path.join(path, "__init__.pyc"),
            loader=self,
            submodule_search_locations=[path],
        )


class Installed:
    """Finds an artifact's distributions by name, for importlib.metadata (its manual: Extending the
    search algorithm).

    PERF: Python's way opens the artifact and reads its table of contents twice more: 20 ms.
    """

    def __init__(self, importer: "zipimporter", names: "dict[str, Any]") -> None:
        self._importer = importer
        self._folders = {}
        for name in names:
            folder, _, file = name.rpartition(os.sep)
            if file == "METADATA" and folder.endswith(".dist-info"):
                found = folder.rpartition(os.sep)[2].partition("-")[0]
                self._folders[_normal(found)] = folder

    def find_spec(self, fullname: str, path: "Any" = None, target: "Any" = None) -> None:
        """No module is found here."""

    def find_distributions(self, context: "DistributionFinder.Context") -> "Iterator[Distribution]":
        """The one of this name. None when all are asked for: then Python's own finder tells."""
        folder = self._folders.get(_normal(context.name or ""))
        if folder is not None:
            packed = import_module("forge_min.data").Packed(self._importer, folder)
            yield import_module("importlib.metadata").PathDistribution(packed)


def _normal(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def quicken(root: str) -> None:
    """Have the modules of a zip found as `Importer` and `Installed` do."""
    importer = Importer(root)  # type: Any
    read = getattr(importer, "_get_files", None)  # Python 3.13 and later
    Importer.names = read() if read else importer._files
    sys.path_hooks[sys.path_hooks.index(zipimporter)] = Importer
    sys.path_importer_cache.pop(root, None)
    sys.meta_path.insert(0, Installed(importer, Importer.names))


def failure(code: str, message: str, hint: str) -> SystemExit:
    """What ends the process with status 1 and the two lines that every command fails with."""
    return SystemExit(f"error[{code}]: {message}\nhint: {hint}")


def reader(root: str) -> "Callable[[str], bytes]":
    """How to read a member of the artifact at `root`, which is a zip or a folder."""
    if os.path.isfile(root):
        return zipimporter(root).get_data

    def read(name: str) -> bytes:
        with open(os.path.join(root, name), "rb") as file:
            return file.read()

    return read


def check_machine(info: "dict[str, Any]", suffix: str, version: str) -> None:
    """SystemExit with F350 unless compiled parts made for `info["suffix"]` load here."""
    if info["suffix"] != suffix:
        raise failure(
            "F350",
            f"this artifact was built for Python {info['python']} ({info['suffix']}), "
            f"and this is Python {version} ({suffix})",
            f"run it with python{info['python'].rpartition('.')[0]}, or build it with this Python",
        )


def places() -> "Iterator[str]":
    """Folders that may keep the compiled parts, best first; the last is this process's own."""
    home = os.path.expanduser("~")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    for folder in (cache, os.environ.get("XDG_RUNTIME_DIR", "")):
        if os.path.isabs(folder):
            yield os.path.join(folder, "forge_min")
    import tempfile

    try:
        private = tempfile.mkdtemp(prefix="forge_min-")
    except OSError:  # nothing here is writable
        return
    atexit.register(_remove, private, os.getpid())
    yield private


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # not in a forked child
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def open_place(place: str) -> None:
    """Makes the folder. Raises OSError unless it is this user's alone and can hold what is run."""
    os.makedirs(place, mode=0o700, exist_ok=True)
    seen = os.lstat(place)
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid() or seen.st_mode & 0o077:
        raise PermissionError(f"{place} is not a folder of this user alone (0700)")
    if os.statvfs(place).f_flag & os.ST_NOEXEC:
        raise PermissionError(f"{place} is mounted noexec")


def is_whole(folder: str, files: "dict[str, int]") -> bool:
    """Whether every file is there with its size. files: name → size in bytes."""
    try:
        found = {name: os.lstat(os.path.join(folder, name)) for name in files}
        owner = os.lstat(folder).st_uid
    except OSError:
        return False
    return owner == os.geteuid() and all(
        stat.S_ISREG(found[name].st_mode) and found[name].st_size == size
        for name, size in files.items()
    )


def unpack_into(
    place: str, digest: str, files: "dict[str, int]", read: "Callable[[str], bytes]"
) -> str:
    """The folder `place`/`digest`, filled if it was not; it appears whole or not at all.

    Raises OSError.
    """
    open_place(place)
    target = os.path.join(place, digest)
    if is_whole(target, files):
        return target
    import shutil  # PERF: only here, for the first start alone needs them
    import tempfile

    work = tempfile.mkdtemp(prefix=".work-", dir=place)
    try:
        fresh = os.path.join(work, "new")
        for name in files:
            path = os.path.join(fresh, name)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(path, "xb") as file:
                file.write(read(name))
        try:
            os.rename(fresh, target)
        except OSError:
            if not is_whole(target, files):  # else another process was first
                os.rename(target, os.path.join(work, "old"))
                os.rename(fresh, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def native_folder(root: str, info: "dict[str, Any]", read: "Callable[[str], bytes]") -> str:
    """The folder from which compiled parts load. SystemExit with F351 where no place holds them."""
    if os.path.isdir(root):
        return os.path.join(root, "_native")
    reasons = []
    for place in places():
        try:
            folder = unpack_into(place, info["native"], info["native_files"], read)
            return os.path.join(folder, "_native")
        except OSError as err:
            reasons.append(f"{place}: {err.strerror or err}")
    raise failure(
        "F351",
        "no folder can hold the artifact's compiled parts (" + "; ".join(reasons) + ")",
        "set XDG_CACHE_HOME to a folder that this user may write to and that is not mounted noexec",
    )


def main() -> None:
    """What `python3 artifact.pyz` runs."""
    root = os.path.dirname(os.path.abspath(__file__))
    sys.path[:1] = [root]  # absolute: it must hold after a change of folder
    read = reader(root)
    info = json.loads(read("build-info.json"))
    check_machine(info, EXTENSION_SUFFIXES[0], sys.version.split()[0])
    if os.path.isfile(root):
        quicken(root)
    native = native_folder(root, info, read)
    sys.path.insert(1, native)
    import_module("forge_min").__path__.append(os.path.join(native, "forge_min"))
    os.environ.setdefault("PSYCOPG_IMPL", info["driver"])
    sys.exit(import_module("forge_min.entry").main(sys.argv[1:]))


if __name__ == "__main__":
    main()
