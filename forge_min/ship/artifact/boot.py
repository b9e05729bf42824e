"""The `__main__.py` of an artifact: checks the machine, prepares compiled parts, runs `entry`.

It is copied into every artifact unchanged, and no module of the package imports it. It loads on
every Python from 3.6 on, because it reports a wrong version, so it imports no other module of the
package. A zip is read through a file descriptor. Python cannot load compiled parts from a zip:
they are unpacked once into a folder that is named by their digest, and their hashes are checked at
each start. If no folder can hold them, they are loaded from memory.
"""

import json
import os
import stat
import sys
import zipimport
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import spec_from_file_location
from zlib import crc32

if False:  # for type checkers; annotations are strings, so that an old Python can load them
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from typing import Any


class Importer(zipimport.zipimporter):
    """Python's importer of zip files, which does not raise while a traceback is formatted."""

    def get_source(self, fullname: str) -> "str | None":
        """Return the source of a module, or None if the artifact is damaged."""
        with suppress(Exception):
            return super().get_source(fullname)
        return None


def hold(root: str) -> str:
    """Return the path by which an artifact is read: a folder's own.

    A zip is opened, and read through its descriptor, also after another file has replaced it.
    Forked children share the descriptor; started programs do not inherit it (PEP 446).
    """
    if os.path.isdir(root):
        return root
    path = f"/proc/self/fd/{os.open(root, os.O_RDONLY)}"
    sys.path_hooks[sys.path_hooks.index(zipimport.zipimporter)] = Importer
    return path if os.path.isfile(path) else root  # /proc is not mounted


def error_exit(code: str, message: str, hint: str) -> SystemExit:
    """Return an exit with status 1 and the two lines of every command's error."""
    return SystemExit(f"error[{code}]: {message}\nhint: {hint}")


def damaged(what: str, err: Exception) -> SystemExit:
    """Return the exit for a part that cannot be loaded at the start."""
    hint = "copy it here again together with its SHA256SUMS, or build it again"
    why = f"{what} cannot be loaded ({type(err).__name__}: {err})"
    return error_exit("D201", f"the artifact is not as it was built: {why}", hint)


def reader(root: str) -> "Callable[[str], bytes]":
    """Return the function that reads a member of the artifact at `root`, a zip or a folder.

    It raises OSError for a member of a zip with a wrong CRC-32: zipimport does not check it.
    """

    def read_file(name: str) -> bytes:
        with open(os.path.join(root, name), "rb") as file:
            return file.read()

    if not os.path.isfile(root):
        return read_file
    importer = Importer(root)
    directory = vars(zipimport)["_zip_directory_cache"][root]  # its rows end with the CRC-32

    def read_member(name: str) -> bytes:
        data = importer.get_data(name)
        if name in directory and crc32(data) != directory[name][-1]:
            raise OSError(f"{name}: its checksum is wrong")
        return data

    return read_member


def check_machine(info: "dict[str, Any]", suffix: str, version: str) -> None:
    """Raise SystemExit with F350 unless compiled parts made for `info["suffix"]` load here."""
    if info["suffix"] != suffix:
        raise error_exit(
            "F350",
            f"this artifact was built for Python {info['python']} ({info['suffix']}), "
            f"and this is Python {version} ({suffix})",
            f"run it with python{info['python'].rpartition('.')[0]}, or build it with this Python",
        )


def cache() -> str:
    """Return the folder for compiled parts, in the user's cache; "" without a home folder."""
    home = os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(os.environ.get("XDG_CACHE_HOME") or home, "forge_min")
    return folder if os.path.isabs(folder) else ""


def check_private(folder: str) -> None:
    """Raise OSError unless this is a folder, not a link, that only this user can access."""
    state = os.lstat(folder)
    private = state.st_uid == os.geteuid() and not state.st_mode & 0o077
    if not private or not stat.S_ISDIR(state.st_mode):
        raise PermissionError(f"{folder} is not a private folder of this user (0700)")


def native_hashes(read: "Callable[[str], bytes]") -> "dict[str, str]":
    """Return the compiled parts in the manifest: SHA-256 in hexadecimal by name."""
    lines = read("manifest.sha256").decode().split("\n")
    return {line[66:]: line[:64] for line in lines if line.startswith("_native/", 66)}


def is_whole(folder: str, files: "dict[str, str]") -> bool:
    """Return whether a folder is private and contains exactly these files with these hashes.

    Times and sizes would not reveal every change. A link is not followed and does not count as a
    file.

    files: as `native_hashes` returns them.
    """

    def digest(name: str) -> str:
        handle = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW)
        with open(handle, "rb") as file:
            return sha256(file.read()).hexdigest()

    present = set()
    try:
        check_private(folder)
        for top, _, names in os.walk(folder):
            inner = top[len(folder) + 1 :]
            for name in names:
                present.add(os.path.join(inner, name))
        return present == set(files) and all(digest(name) == files[name] for name in files)
    except OSError:
        return False


def native_parts(files: "dict[str, str]", read: "Callable[[str], bytes]") -> "dict[str, bytes]":
    """Return the compiled parts by name. SystemExit with F380 if a hash is not the manifest's."""
    parts = {name: read(name) for name in sorted(files)}
    if any(sha256(data).hexdigest() != files[name] for name, data in parts.items()):
        why = "the compiled parts of this artifact are not those that were built"
        raise error_exit("F380", why, "copy the artifact here again, or build it again")
    return parts


def unpack_into(folder: str, files: "dict[str, str]", read: "Callable[[str], bytes]") -> str:
    """Return the folder below `folder` with these files; write it if it is missing or differs.

    It is named by the digest of `files`, and appears atomically. Raises OSError, also if the file
    system is mounted noexec.
    """
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
    """Write the folder `target` atomically. Raises OSError."""
    import shutil  # PERF: here, because only the first start needs them
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
        os.chmod(fresh, 0o700)  # makedirs sets the mode of the last folder only
        try:
            os.rename(fresh, target)
        except OSError:
            if is_whole(target, files):  # another process has written it
                return
            os.rename(target, os.path.join(work, "old"))
            os.rename(fresh, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not is_whole(target, files):
        raise OSError("the files read there are not those that were written")


class InMemory:
    """A finder of compiled modules in anonymous files (memfd_create(2)), written at each start.

    It is used if no folder is writable.

    parts: as `native_parts` returns them.
    Raises OSError.
    """

    def __init__(self, parts: "dict[str, bytes]") -> None:
        self._paths = {}
        libraries = []
        for name, data in parts.items():
            suffix = next((end for end in EXTENSION_SUFFIXES if name.endswith(end)), "")
            if ".libs/" in name:
                libraries.append(self._new_file(name, data))
            elif suffix:
                module = name[len("_native/") : -len(suffix)].replace("/", ".")
                self._paths[module] = self._new_file(name, data)
        self._load(libraries)

    def find_spec(self, fullname: str, *_: "Any") -> "ModuleSpec | None":
        """Return the spec of a compiled module, None for any other."""
        if fullname not in self._paths:
            return None
        loader = ExtensionFileLoader(fullname, self._paths[fullname])
        return spec_from_file_location(fullname, self._paths[fullname], loader=loader)

    def _new_file(self, name: str, data: bytes) -> str:
        handle = os.memfd_create(os.path.basename(name))
        with open(handle, "wb", closefd=False) as file:
            file.write(data)
        return f"/proc/self/fd/{handle}"

    def _load(self, libraries: "list[str]") -> None:
        """Load each library after those that it needs, which dlopen(3) then finds by name."""
        from ctypes import CDLL

        while libraries:
            failed = []
            for path in libraries:
                try:
                    CDLL(path)
                except OSError as err:
                    failed.append(path)
                    reason = err
            if len(failed) == len(libraries):
                raise reason
            libraries = failed


def native_folder(root: str, files: "dict[str, str]", read: "Callable[[str], bytes]") -> str:
    """Return the folder from which compiled parts load. Raises SystemExit (F351) without one."""
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
    except (OSError, ImportError, AttributeError) as err:  # an unusual Python lacks ctypes or memfd
        raise error_exit(
            "F351",
            f"nothing here can hold the artifact's compiled parts ({reason}; memory: {err})",
            "set XDG_CACHE_HOME to a folder of this user that is not mounted noexec",
        ) from None


def main() -> None:
    """Run the artifact: `python3 artifact.pyz`."""
    try:
        root = hold(os.path.dirname(os.path.abspath(__file__)))
        sys.path[:1] = [root]  # absolute: it must hold after a change of folder
        read = reader(root)
        info = json.loads(read("build-info.json"))
    except Exception as err:  # a damaged zip raises many kinds of errors
        raise damaged("build-info.json", err) from None
    check_machine(info, EXTENSION_SUFFIXES[0], sys.version.split()[0])
    sys.dont_write_bytecode = True  # unpacked files stay unchanged, with -O too
    native = native_folder(root, native_hashes(read), read)
    sys.path.insert(1, native)  # before the packages that are installed on this machine
    os.environ.setdefault("PSYCOPG_IMPL", info["driver"])
    try:
        import_module("forge_min").__path__.append(os.path.join(native, "forge_min"))
        entry = import_module("forge_min.entry")
    except Exception as err:
        raise damaged("forge_min", err) from None
    sys.exit(entry.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
