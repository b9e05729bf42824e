"""Files of one folder, or of one package in a zip, as responses. A path never leads out of the
folder. A URL with the file's hash in it, as the pages of an artifact have, is cached for a year.

A large file is read block by block while the client takes it (see `Exchange`): a slow client holds
one block and one descriptor, and no thread.
"""

from __future__ import annotations

import errno
import hashlib
import mimetypes
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from io import BytesIO, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast
from weakref import WeakValueDictionary

from ..errors import NotFound, Unavailable
from ..i18n import text
from ..lazy import lazy_pattern
from ..resources import table
from .middleware.accept import takes
from .problem import HTTPProblem
from .request import Request
from .response import Response

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

BLOCK = 1 << 16  # bytes that are read at once; a body up to this size is sent whole
_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
_HASHED = lazy_pattern(r"(.+)\.([0-9a-f]{12})(\.[^./]+)?")  # css/board.0f1e2d3c4b5a.css
_RANGE = lazy_pattern(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)
_LONG = "public, max-age=31536000, immutable"
_GZIP = ("gzip", "x-gzip", "*")
_TYPES: dict[str, str] = table("forge_min.wsgi", "types.toml")
_SETTLED = 2_000_000_000  # nanoseconds until the next change surely has another time
_MOST_FILES = 1000  # whose hashes are remembered
_new_hash = partial(hashlib.blake2b, digest_size=16)
FileIdentity = tuple[int, ...]
"""Device, inode, size and time of the last change (ns, last); () in a zip, which never changes."""


class _File(NamedTuple):
    place: Path | Traversable
    identity: FileIdentity
    size: int
    digest: str


def content_type(name: str) -> str:
    """The media type by the name's ending, the same on every machine for what browsers execute."""
    ending = name.rpartition(".")[2].lower()
    return _TYPES.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"


class StaticFiles:
    """A handler for a route that ends in `{path...}`.

    root: a folder, or a Traversable (a package's files, also from a zip). max_age: seconds for
    which browsers need not ask again; 0 makes them ask every time, with the ETag. Under a name with
    its hash a file is kept for a year; with another hash in it, as after an update, it is answered
    as under its plain name. a.css.gz is sent in place of a.css to clients that accept gzip.
    Raises NotFound unless the path names a plain file inside root, symbolic links resolved.
    """

    def __init__(self, root: Path | Traversable, *, max_age: int = 0) -> None:
        self._root = root.resolve() if isinstance(root, Path) else root
        self._cache = f"public, max-age={max_age}, immutable" if max_age else "no-cache"
        # LOCK: none; two threads that hash the same file store the same.
        self._known: dict[str, _File] = {}
        # An artifact's member is unpacked as a whole: once, for all clients that are reading it.
        self._unpacked: WeakValueDictionary[str, BytesIO] = WeakValueDictionary()

    def __call__(self, request: Request) -> Response:
        """Answer with the file that `request.params["path"]` names: 200, 206 or 416 by Range, 304
        by ETag.
        """
        path, named = request.params["path"], None
        try:
            file = self._find(path)
        except NotFound:
            named = _HASHED.fullmatch(path)
            if named is None:
                raise
            path = named[1] + (named[3] or "")
            file = self._find(path)
        lasting = named is not None and file.digest.startswith(named[2])
        headers = [("Cache-Control", _LONG if lasting else self._cache)]
        tag = f'"{file.digest}"'
        with suppress(NotFound):
            packed = self._find(f"{path}.gz")
            headers.append(("Vary", "Accept-Encoding"))
            if takes(request.header("Accept-Encoding") or "", _GZIP):
                headers.append(("Content-Encoding", "gzip"))
                file, tag = packed, f'"{file.digest}-gzip"'
        headers += [("ETag", tag), ("Accept-Ranges", "bytes")]
        if request.has_match(tag):
            return Response(304, b"", headers)
        headers.append(("Content-Type", content_type(path)))
        if request.method == "HEAD":
            return Response(200, (), [*headers, ("Content-Length", str(file.size))])
        span = _range(request, tag, file.size)
        status, part = (206, span) if span is not None else (200, range(file.size))
        if span is not None:
            headers.append(("Content-Range", f"bytes {span[0]}-{span[-1]}/{file.size}"))
        with _errors_translated(), ExitStack() as stack:
            stream, whole = self._open(file)
            stack.callback(stream.close)
            if isinstance(stream, FileIO) and _identity(os.fstat(stream.fileno())) != file.identity:
                return self(request)  # it has changed since it was found
            stream.seek(part.start)
            if len(part) <= BLOCK:
                return Response(status, stream.read(len(part)) or b"", headers)
            stack.pop_all()
        headers.append(("Content-Length", str(len(part))))
        return Response(status, _Blocks(stream, len(part), whole), headers)

    def _find(self, path: str) -> _File:
        """Raises NotFound for a path outside root, a hidden name, and anything but a file."""
        parts = path.split("/")
        if any(not p or p.startswith(".") or "\\" in p or "\0" in p for p in parts):
            raise _not_found()
        with _errors_translated():
            identity: FileIdentity = ()
            place = self._root.joinpath(*parts)
            if isinstance(place, Path) and isinstance(self._root, Path):
                place = place.resolve()
                found = place.stat()
                is_file = place.is_relative_to(self._root) and stat.S_ISREG(found.st_mode)
                identity = _identity(found)
            else:
                is_file = place.is_file()
            if not is_file:
                raise _not_found()
            file = self._known.get(path)
            if file is None or (file.place, file.identity) != (place, identity):
                with place.open("rb") as stream:
                    digest = hashlib.file_digest(cast("BytesIO", stream), _new_hash).hexdigest()
                    file = _File(place, identity, stream.seek(0, os.SEEK_END), digest)
                if len(self._known) >= _MOST_FILES:
                    self._known.clear()
                if not identity or time.time_ns() - identity[-1] > _SETTLED:
                    self._known[path] = file
        return file

    def _open(self, file: _File) -> tuple[FileIO | BytesIO, BytesIO | None]:
        """The file, and what has to be kept while it is read."""
        if isinstance(file.place, Path):
            return FileIO(file.place), None
        whole = self._unpacked.get(str(file.place))
        if whole is None:
            whole = self._unpacked[str(file.place)] = BytesIO(file.place.read_bytes())
        return BytesIO(whole.getvalue()), whole  # without a copy


class _Blocks:
    """The next `left` bytes of an open file, as a body. whole: kept meanwhile."""

    def __init__(self, stream: FileIO | BytesIO, left: int, whole: BytesIO | None) -> None:
        self._stream, self._left, self._whole = stream, left, whole

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block = self._stream.read(min(BLOCK, self._left))
        if not block:
            raise StopIteration
        self._left -= len(block)
        return block

    def close(self) -> None:
        """Close the file (PEP 3333). Idempotent."""
        self._stream.close()


def _range(request: Request, tag: str, size: int) -> range | None:
    """The bytes that a request wants; None for all of them: also for several ranges, which a server
    may ignore, and for a malformed one (RFC 9110 section 14.2). Raises HTTPProblem 416.
    """
    match = _RANGE.fullmatch(request.header("Range") or "")
    # No Last-Modified is sent, so a date in If-Range can be none of ours (RFC 9110 section 13.1.5).
    if match is None or request.header("If-Range") not in (None, tag):
        return None
    first, last = match.groups()
    if not (first or last) or (first and last and int(last) < int(first)):
        return None
    span = range(size)[int(first) : int(last or size) + 1] if first else range(size)[-int(last) :]
    if not span or last == "0" * len(last) and not first:
        message = text("the file has {size} bytes", size=size)
        raise HTTPProblem(416, message, headers=[("Content-Range", f"bytes */{size}")])
    return span


def _identity(found: os.stat_result) -> FileIdentity:
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns


def _not_found() -> NotFound:
    return NotFound(text("no such file"))


@contextmanager
def _errors_translated() -> Iterator[None]:
    """Raises NotFound or Unavailable for what the system or a zip says of a file."""
    try:
        yield
    except OSError as err:
        if err.errno in _NO_ROOM:
            raise Unavailable(f"a file cannot be read now: {err}") from err
        raise _not_found() from err  # a loop of links, a name that is too long, a deleted file
    except (ValueError, KeyError, RuntimeError) as err:
        raise _not_found() from err
