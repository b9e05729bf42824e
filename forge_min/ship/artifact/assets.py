"""Static files of an artifact: pages refer to them by their hash, and a gzip is beside them.

A file keeps its name. For css/board.0f1e2d3c4b5a.css with its current hash, `wsgi.static` sends
css/board.css, which the client may cache for good.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import PurePosixPath
from zlib import error as BadStream

from ..errors import build_error

_URLS = {"static/": "/static/", "forge_min/html/assets/": "/static/forge/"}  # by folder
_PAGES = ("gen/pages/", "forge_min/")  # code that may refer to scripts and stylesheets
_URL = re.compile(rb"(?<![\w.-])/static/[\w./@+-]*\w")


def prepare_assets(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the members with hashed URLs in pages, and with a gzip of each static file.

    Raises BuildError F343 if the project has a.css.gz beside a.css with another content, because
    it would be sent instead.
    """
    result = {}
    hashed = {}
    for folder, url in _URLS.items():
        for name, data in members.items():
            if not name.startswith(folder):
                continue
            plain = url + name.removeprefix(folder)
            path = PurePosixPath(plain)
            digest = blake2b(data, digest_size=16).hexdigest()[:12]  # as in the ETag
            with_hash = path.with_name(f"{path.stem}.{digest}{path.suffix}")
            hashed[plain.encode()] = str(with_hash).encode()
            compressed = gzip.compress(data, 9, mtime=0)
            zipped = f"{name}.gz"
            if len(compressed) < 0.9 * len(data):
                result[zipped] = compressed
            if zipped in members and not _is_gzip_of(members[zipped], data):
                raise build_error("other_gzip", name=zipped, file=name)
    for name, data in members.items():
        if name.startswith(_PAGES) and name.endswith(".py"):
            data = _URL.sub(lambda match: hashed.get(match[0], match[0]), data)
        result[name] = data
    return result


def _is_gzip_of(compressed: bytes, data: bytes) -> bool:
    try:
        return gzip.decompress(compressed) == data
    except (OSError, EOFError, BadStream):
        return False
