"""The `__main__.py` of an artifact: checks the machine, has compiled parts ready, runs `entry`.

Copied into every artifact as it is; nothing of the package imports it. It must load on any Python
from 3.6 on, because it tells a wrong one that it is wrong: so it is plain and stands alone. A zip
is read by a handle. It cannot load compiled parts: they are unpacked once into a folder named by
their digest, and load from it, all hashed anew at each start; or from memory.
"""

import json
import os
import stat
import sys
import zipimport
from contextlib import suppress
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import spec_from_file_location

if False:  # for type checkers alone; annotations are strings, so that an old Python can load them
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from typing import Any


class Importer(zipimport.zipimporter):
    """Python's own, which does not raise for the source of a module, as a traceback asks for it."""

    def get_source(self, fullname: str) -> "str | None":
        """None also if another program has written into the artifact: no error is lost for it."""
        with suppress(Exception):
            return super().get_source(fullname)
        return None


def hold(root: str) -> str:
    """The path by which an artifact is read. A folder has its own.

    A zip has a handle's, so that this very file is read also when another takes its folder. Forked
    children share it; programs that are started do not get it (PEP 446).
    """
    if os.path.isdir(root):
        return root
    held = f"/proc/self/fd/{os.open(root, os.O_RDONLY)}"
    sys.path_hooks[sys.path_hooks.index(zipimport.zipimporter)] = Importer
    return held if os.path.isfile(held) else root  # there is no /proc


def error_exit(code: str, message: str, hint: str) -> SystemExit:
    """What ends the process with status 1 and the two lines that every command fails with."""
    return SystemExit(f"error[{code}]: {message}\nhint: {hint}")


def damaged(what: str, err: Exception) -> SystemExit:
    """What ends the process where a part that it begins with cannot be loaded."""
    hint = "copy it here again together with its SHA256SUMS, or build it again"
    why = f"{what} cannot be loaded ({type(err).__name__}: {err})"
    return error_exit("D201", f"the artifact is not as it was built: {why}", hint)


def reader(root: str) -> "Callable[[str], bytes]":
    """How to read a member of the artifact at `root`, a zip or a folder."""
    if os.path.isfile(root):
        return Importer(root).get_data

    def read(name: str) -> bytes:
        with open(os.path.join(root, name), "rb") as file:
            return file.read()

    return read


def check_machine(info: "dict[str, Any]", suffix: str, version: str) -> None:
    """SystemExit with F350 unless compiled parts made for `info["suffix"]` load here."""
    if info["suffix"] != suffix:
        raise error_exit(
            "F350",
            f"this artifact was built for Python {info['python']} ({info['suffix']}), "
            f"and this is Python {version} ({suffix})",
            f"run it with python{info['python'].rpartition('.')[0]}, or build it with this Python",
        )


def cache() -> str:
    """The folder that keeps compiled parts, in the cache of this user; "" without a home."""
    home = os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(os.environ.get("XDG_CACHE_HOME") or home, "forge_min")
    return folder if os.path.isabs(folder) else ""


def check_private(folder: str) -> None:
    """OSError unless this is a folder, no link, and this user's alone."""
    state = os.lstat(folder)
    mine = state.st_uid == os.geteuid() and not state.st_mode & 0o077
    if not mine or not stat.S_ISDIR(state.st_mode):
        raise PermissionError(f"{folder} is not a folder of this user alone (0700)")


def native_hashes(read: "Callable[[str], bytes]") -> "dict[str, str]":
    """The compiled parts as the manifest lists them: name → SHA-256 in hexadecimal."""
    lines = read("manifest.sha256").decode().split("\n")
    return {line[66:]: line[:64] for line in lines if line.startswith("_native/", 66)}


def is_whole(folder: str, files: "dict[str, str]") -> bool:
    """Whether a folder is private, and holds these files, each with its hash, and no others.

    files: as of `native_hashes`. Times and sizes would not show every change. Links are neither
    followed nor files.
    """
    from hashlib import sha256

    def digest(name: str) -> str:
        handle = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW)
        with open(handle, "rb") as file:
            return sha256(file.read()).hexdigest()

    try:
        check_private(folder)
        walk = ((top[len(folder) + 1 :], names) for top, _, names in os.walk(folder))
        present = {os.path.join(top, name) for top, names in walk for name in names}
        return present == set(files) and all(digest(name) == files[name] for name in files)
    except OSError:
        return False


def native_parts(files: "dict[str, str]", read: "Callable[[str], bytes]") -> "dict[str, bytes]":
    """The compiled parts by name. SystemExit with F380 unless they have the manifest's hashes."""
    from hashlib import sha256

    parts = {name: read(name) for name in sorted(files)}
    if any(sha256(data).hexdigest() != files[name] for name, data in parts.items()):
        why = "the compiled parts of this artifact are not those that were built"
        raise error_exit("F380", why, "copy the artifact here again, or build it again")
    return parts


def unpack_into(folder: str, files: "dict[str, str]", read: "Callable[[str], bytes]") -> str:
    """Return the folder in `folder` named by the digest of `files`, filled unless it is whole.

    It appears whole or not at all. Raises OSError, also for noexec.
    """
    from hashlib import sha256

    os.makedirs(folder, mode=0o700, exist_ok=True)
    check_private(folder)
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        raise PermissionError(f"{folder} is mounted noexec")
    listed = "".join(f"{files[name]}  {name}\n" for name in sorted(files))
    target = os.path.join(folder, sha256(listed.encode()).hexdigest())
    if not is_whole(target, files):
        fill(target, files, read)
    return target


def fill(target: str, files: "dict[str, str]", read: "Callable[[str], bytes]") -> None:
    """Make the folder `target`. Raises OSError."""
    import shutil  # PERF: only here, for the first start alone needs them
    import tempfile

    parts = native_parts(files, read)
    work = tempfile.mkdtemp(prefix=".work-", dir=os.path.dirname(target))
    try:
        fresh = os.path.join(work, "new")
        for name, data in parts.items():
            path = os.path.join(fresh, name)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(data)
        os.chmod(fresh, 0o700)  # makedirs gives its mode to the last folder alone
        try:
            os.rename(fresh, target)
        except OSError:
            if is_whole(target, files):  # of a process that was first
                return
            os.rename(target, os.path.join(work, "old"))
            os.rename(fresh, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not is_whole(target, files):
        raise OSError("what was written there is not what is read")


class InMemory:
    """Finds compiled modules in files without a name (memfd_create(2)), filled at each start: where
    nothing is writable. parts: as of `native_parts`. Raises OSError.
    """

    def __init__(self, parts: "dict[str, bytes]") -> None:
        self._paths = {}
        libraries = []
        for name, data in parts.items():
            suffix = next((end for end in EXTENSION_SUFFIXES if name.endswith(end)), "")
            if ".libs/" in name:
                libraries.append(self._keep(name, data))
            elif suffix:
                module = name[len("_native/") : -len(suffix)].replace("/", ".")
                self._paths[module] = self._keep(name, data)
        self._load(libraries)

    def find_spec(self, fullname: str, *_: "Any") -> "ModuleSpec | None":
        """The module's, if it is one of them."""
        if fullname not in self._paths:
            return None
        loader = ExtensionFileLoader(fullname, self._paths[fullname])
        return spec_from_file_location(fullname, self._paths[fullname], loader=loader)

    def _keep(self, name: str, data: bytes) -> str:
        handle = os.memfd_create(os.path.basename(name))
        with open(handle, "wb", closefd=False) as file:
            file.write(data)
        return f"/proc/self/fd/{handle}"

    def _load(self, libraries: "list[str]") -> None:
        """Each after those that it needs, which the loader then knows by name (dlopen(3))."""
        from ctypes import CDLL

        while libraries:
            left = []
            for path in libraries:
                try:
                    CDLL(path)
                except OSError as err:
                    left.append(path)
                    reason = err
            if len(left) == len(libraries):
                raise reason
            libraries = left


def native_folder(root: str, files: "dict[str, str]", read: "Callable[[str], bytes]") -> str:
    """The folder from which compiled parts load. SystemExit with F351 where nothing holds them."""
    inside = os.path.join(root, "_native")
    if os.path.isdir(root):
        return inside
    folder = cache()
    reason = "this user has no cache folder"
    try:
        if folder:
            return os.path.join(unpack_into(folder, files, read), "_native")
    except OSError as err:
        reason = f"{folder}: {err.strerror or err}"
    try:
        sys.meta_path.insert(0, InMemory(native_parts(files, read)))
        return inside
    except (OSError, ImportError, AttributeError) as err:  # what an unusual Python lacks
        raise error_exit(
            "F351",
            f"nothing here can hold the artifact's compiled parts ({reason}; memory: {err})",
            "set XDG_CACHE_HOME to a folder of this user that is not mounted noexec",
        ) from None


def main() -> None:
    """What `python3 artifact.pyz` runs."""
    try:
        root = hold(os.path.dirname(os.path.abspath(__file__)))
        sys.path[:1] = [root]  # absolute: it must hold after a change of folder
        read = reader(root)
        info = json.loads(read("build-info.json"))
    except Exception as err:  # a damaged zip raises many things
        raise damaged("build-info.json", err) from None
    check_machine(info, EXTENSION_SUFFIXES[0], sys.version.split()[0])
    sys.dont_write_bytecode = True  # what is unpacked stays as it is, with -O too
    native = native_folder(root, native_hashes(read), read)
    sys.path.insert(1, native)  # nothing that is installed on this machine comes before it
    os.environ.setdefault("PSYCOPG_IMPL", info["driver"])
    try:
        import_module("forge_min").__path__.append(os.path.join(native, "forge_min"))
        entry = import_module("forge_min.entry")
    except Exception as err:
        raise damaged("forge_min", err) from None
    sys.exit(entry.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
