"""Files of one folder, or of one package in a zip, as answers. It never follows a path out of
the folder.
"""

from __future__ import annotations

import errno
import hashlib
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING

from ..data import table
from ..errors import NotFound, Unavailable
from ..text import text
from .request import Request
from .response import Response

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
_TYPES: dict[str, str] = table("forge_min.wsgi", "types.toml")


def content_type(name: str) -> str:
    """The media type by the name's ending, the same on every machine for what browsers execute."""
    ending = name.rpartition(".")[2].lower()
    return _TYPES.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"


class StaticFiles:
    """A handler for a route that ends in `{path...}`.

    root: a folder, or a Traversable (a package's files, also from a zip). max_age: seconds for
    which browsers need not ask again; 0 makes them ask every time, with the ETag. Raises NotFound
    for whatever is no plain file inside root, symbolic links out of it included.
    """

    def __init__(self, root: Path | Traversable, *, max_age: int = 0) -> None:
        self._root = root.resolve() if isinstance(root, Path) else root
        self._cache = f"public, max-age={max_age}, immutable" if max_age else "no-cache"

    def __call__(self, request: Request) -> Response:
        """Answer with the file that `request.params["path"]` names: 200, or 304 by ETag."""
        path = request.params["path"]
        data = self._read(path.split("/"))
        if data is None:
            raise NotFound(text("no such file"))
        tag = f'"{hashlib.blake2b(data, digest_size=16).hexdigest()}"'
        headers = [("ETag", tag), ("Cache-Control", self._cache)]
        if request.has_match(tag):
            return Response(304, b"", headers)
        return Response(200, data, [("Content-Type", content_type(path)), *headers])

    def _read(self, parts: list[str]) -> bytes | None:
        """The file's bytes; None for what does not lie inside, is hidden, or is no file."""
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
