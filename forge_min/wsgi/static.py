"""Files of one folder, or of one package in a zip, as answers. It never follows a path out of
the folder. An address with the file's hash in it, as the pages of an artifact have, is kept long.
"""

from __future__ import annotations

import errno
import hashlib
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING

from ..data import table
from ..errors import NotFound, Unavailable
from ..expression import expression
from ..text import text
from .middleware.accept import takes
from .request import Request
from .response import Response

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
_HASHED = expression(r"(.+)\.([0-9a-f]{12})(\.[^./]+)?")  # css/board.0f1e2d3c4b5a.css
_LONG = "public, max-age=31536000, immutable"
_GZIP = ("gzip", "x-gzip", "*")
_TYPES: dict[str, str] = table("forge_min.wsgi", "types.toml")


def content_type(name: str) -> str:
    """The media type by the name's ending, the same on every machine for what browsers execute."""
    ending = name.rpartition(".")[2].lower()
    return _TYPES.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"


class StaticFiles:
    """A handler for a route that ends in `{path...}`.

    root: a folder, or a Traversable (a package's files, also from a zip). max_age: seconds for
    which browsers need not ask again; 0 makes them ask every time, with the ETag. Under a name with
    its hash a file is kept for a year; with another hash in it, as after an update, it is answered
    as under its plain name. a.css.gz goes out in place of a.css to whoever takes gzip. Raises
    NotFound for whatever is no plain file inside root, symbolic links out of it included.
    """

    def __init__(self, root: Path | Traversable, *, max_age: int = 0) -> None:
        self._root = root.resolve() if isinstance(root, Path) else root
        self._cache = f"public, max-age={max_age}, immutable" if max_age else "no-cache"

    def __call__(self, request: Request) -> Response:
        """Answer with the file that `request.params["path"]` names: 200, or 304 by ETag."""
        path = request.params["path"]
        data, named = self._read(path), None
        if data is None and (named := _HASHED.fullmatch(path)):
            path = named[1] + (named[3] or "")
            data = self._read(path)
        if data is None:
            raise NotFound(text("no such file"))
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        lasting = named is not None and digest.startswith(named[2])
        headers = [("Cache-Control", _LONG if lasting else self._cache)]
        packed = self._read(f"{path}.gz")
        if packed is not None:
            headers.append(("Vary", "Accept-Encoding"))
            if takes(request.header("Accept-Encoding") or "", _GZIP):
                headers.append(("Content-Encoding", "gzip"))
                data, digest = packed, f"{digest}-gzip"
        tag = f'"{digest}"'
        headers.append(("ETag", tag))
        if request.has_match(tag):
            return Response(304, b"", headers)
        return Response(200, data, [("Content-Type", content_type(path)), *headers])

    def _read(self, path: str) -> bytes | None:
        """The file's bytes; None for what does not lie inside, is hidden, or is no file."""
        parts = path.split("/")
        if any(not p or p.startswith(".") or "\\" in p or "\0" in p for p in parts):
            return None
        place = self._root.joinpath(*parts)
        try:
            if isinstance(place, Path) and isinstance(self._root, Path):
                place = place.resolve()
                if not place.is_relative_to(self._root):
                    return None
            return place.read_bytes() if place.is_file() else None
        except OSError as err:
            if err.errno in _NO_ROOM:
                raise Unavailable(f"a file cannot be read now: {err}") from err
            return None  # a loop of links, a name that is too long, a file that went away
        except (ValueError, KeyError, RuntimeError):
            return None
