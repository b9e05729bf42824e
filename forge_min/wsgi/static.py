"""Serves the files of one folder, or of one package in a zip. A path never leaves the folder.

A URL with the file's hash, as in the pages of an artifact, is cached for a year. A large file is
read block by block while the client reads (see `Exchange`): a slow client holds one block and one
descriptor, and no thread.
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
from .middleware.negotiation import accepts_gzip
from .problem import HTTPProblem
from .request import Request
from .response import Response

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

BLOCK = 1 << 16  # bytes that are read at once; a body up to this size is sent as a whole
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
_HASHED = lazy_pattern(r"(.+)\.([0-9a-f]{12})(\.[^./]+)?")  # css/board.0f1e2d3c4b5a.css
_RANGE = lazy_pattern(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)
_ONE_YEAR = "public, max-age=31536000, immutable"
_TYPES: dict[str, str] = table("forge_min.wsgi", "types.toml")
_CTIME_GRANULARITY = 2_000_000_000  # nanoseconds after which a change surely has a new time
_MAX_HASHES = 1000  # files with a cached hash
_new_hash = partial(hashlib.blake2b, digest_size=16)
FileIdentity = tuple[int, ...]
"""Device, inode, size, and time of the last change in ns; () in a zip, which never changes."""


class _File(NamedTuple):
    location: Path | Traversable
    identity: FileIdentity
    size: int
    digest: str


def content_type(name: str) -> str:
    """Return the media type by extension, the same on every machine for active content."""
    ending = name.rpartition(".")[2].lower()
    return _TYPES.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"


class StaticFiles:
    """A handler for a route that ends in `{path...}`.

    root: a folder, or a Traversable (files of a package, also in a zip).

    A file under a name with its hash is cached for a year; for other names browsers ask every time,
    with the ETag. A name with another hash, as after an update, is served like the plain name.
    Clients that accept gzip get a.css.gz instead of a.css.
    Raises NotFound unless the path is a plain file inside root, with symbolic links resolved.
    """

    def __init__(self, root: Path | Traversable) -> None:
        if isinstance(root, Path):
            root = root.resolve()
        self._root = root
        # LOCK: none; two threads that hash the same file store the same value.
        self._files: dict[str, _File] = {}
        # A file in a zip is decompressed as a whole: once for all clients that read it.
        self._decompressed: WeakValueDictionary[str, BytesIO] = WeakValueDictionary()

    def __call__(self, request: Request) -> Response:
        """Serve the file `request.params["path"]`: 200, by Range 206 or 416, by ETag 304."""
        path = request.params["path"]
        policy = "no-cache"
        try:
            file = self._lookup(path)
        except NotFound:
            match = _HASHED.fullmatch(path)
            if match is None:
                raise
            stem, digest, suffix = match.groups("")
            path = f"{stem}{suffix}"
            file = self._lookup(path)
            if file.digest.startswith(digest):
                policy = _ONE_YEAR
        headers = [("Cache-Control", policy)]
        tag = f'"{file.digest}"'
        with suppress(NotFound):
            compressed = self._lookup(f"{path}.gz")
            headers.append(("Vary", "Accept-Encoding"))
            if accepts_gzip(request):
                headers.append(("Content-Encoding", "gzip"))
                tag = f'"{file.digest}-gzip"'
                file = compressed
        headers += [("ETag", tag), ("Accept-Ranges", "bytes")]
        if request.has_match(tag):
            return Response(304, b"", headers)
        headers.append(("Content-Type", content_type(path)))
        if request.method == "HEAD":
            headers.append(("Content-Length", str(file.size)))
            return Response(200, (), headers)
        status = 200
        part = range(file.size)
        span = _range(request, tag, file.size)
        if span is not None:
            status = 206
            part = span
            headers.append(("Content-Range", f"bytes {span[0]}-{span[-1]}/{file.size}"))
        with _errors_translated(), ExitStack() as stack:
            stream, whole = self._open(file)
            stack.callback(stream.close)
            if isinstance(stream, FileIO):
                identity = _identity(os.fstat(stream.fileno()))
                if identity != file.identity:
                    return self(request)  # it has changed since the lookup
            stream.seek(part.start)
            if len(part) <= BLOCK:
                return Response(status, stream.read(len(part)) or b"", headers)
            stack.pop_all()
        headers.append(("Content-Length", str(len(part))))
        return Response(status, _Blocks(stream, len(part), whole), headers)

    def _lookup(self, path: str) -> _File:
        """Find a file. Raises NotFound for a path outside root, hidden names and non-files."""
        parts = path.split("/")
        for part in parts:
            if not part or part.startswith(".") or "\\" in part or "\0" in part:
                raise _not_found()
        with _errors_translated():
            identity: FileIdentity = ()
            location = self._root.joinpath(*parts)
            if isinstance(location, Path) and isinstance(self._root, Path):
                location = location.resolve()
                status = location.stat()
                is_file = location.is_relative_to(self._root) and stat.S_ISREG(status.st_mode)
                identity = _identity(status)
            else:
                is_file = location.is_file()
            if not is_file:
                raise _not_found()
            file = self._files.get(path)
            if file is None or (file.location, file.identity) != (location, identity):
                with location.open("rb") as stream:
                    digest = hashlib.file_digest(cast("BytesIO", stream), _new_hash)
                    size = stream.seek(0, os.SEEK_END)
                file = _File(location, identity, size, digest.hexdigest())
                if len(self._files) >= _MAX_HASHES:
                    self._files.clear()
                if not identity or time.time_ns() - identity[-1] > _CTIME_GRANULARITY:
                    self._files[path] = file
        return file

    def _open(self, file: _File) -> tuple[FileIO | BytesIO, BytesIO | None]:
        """Return the open file, and the decompressed bytes to keep while it is read, if any."""
        if isinstance(file.location, Path):
            return FileIO(file.location), None
        name = str(file.location)
        whole = self._decompressed.get(name)
        if whole is None:
            whole = BytesIO(file.location.read_bytes())
            self._decompressed[name] = whole
        return BytesIO(whole.getvalue()), whole  # without a copy


class _Blocks(Iterator[bytes]):
    """The next `length` bytes of an open file, as a body. whole: kept until the end."""

    def __init__(self, stream: FileIO | BytesIO, length: int, whole: BytesIO | None) -> None:
        self._stream = stream
        self._remaining = length
        self._whole = whole

    def __next__(self) -> bytes:
        block = self._stream.read(min(BLOCK, self._remaining))
        if not block:
            raise StopIteration
        self._remaining -= len(block)
        return block

    def close(self) -> None:
        """Close the file (PEP 3333). Idempotent."""
        self._stream.close()


def _range(request: Request, tag: str, size: int) -> range | None:
    """Return the requested range of bytes; None for the whole file. Raises HTTPProblem 416.

    Several ranges and malformed ones are ignored, as RFC 9110 section 14.2 permits.
    """
    match = _RANGE.fullmatch(request.header("Range") or "")
    # Last-Modified is never sent, so a date in If-Range cannot match (RFC 9110 section 13.1.5).
    if match is None or request.header("If-Range") not in (None, tag):
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if first:
        start = int(first)
        end = int(last or size)
        if last and end < start:
            return None
        span = range(size)[start : end + 1]
    else:
        length = int(last)
        span = range(max(size - length, 0), size)
    if not span:
        message = text("the file has {size} bytes", size=size)
        raise HTTPProblem(416, message, headers=[("Content-Range", f"bytes */{size}")])
    return span


def _identity(status: os.stat_result) -> FileIdentity:
    return status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns


def _not_found() -> NotFound:
    return NotFound(text("the file was not found"))


@contextmanager
def _errors_translated() -> Iterator[None]:
    """Turn errors of the system or a zip into NotFound or Unavailable."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as err:
        if isinstance(err, OSError) and err.errno in _EXHAUSTED:
            raise Unavailable(f"a file cannot be read now: {err}", code="F002") from err
        raise _not_found() from err  # for example a loop of links, a long name, a deleted file
