"""Static files for browsers: their hash in the addresses that pages have, and a gzip beside them.

A file keeps its name. Whoever asks for css/board.0f1e2d3c4b5a.css, where that is the file's hash,
gets css/board.css and may keep it (`wsgi.static`).
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import PurePosixPath
from zlib import error as BadStream

from ..errors import build_error

_ADDRESSES = {"static/": "/static/", "forge_min/html/assets/": "/static/forge/"}
_PAGES = ("gen/pages/", "forge_min/")  # code that may name scripts and stylesheets
_ADDRESS = re.compile(rb"(?<![\w.-])/static/[\w./@+-]*\w")


def prepare_assets(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """The members, in which pages name static files by their hashes, and the files as gzip. Raises
    BuildError F343 where a.css.gz lies beside a.css, in whose place it would go out, and is other.
    """
    found: dict[str, bytes] = {}
    hashed: dict[bytes, bytes] = {}
    for folder, address in _ADDRESSES.items():
        for name, data in members.items():
            if name.startswith(folder):
                plain = address + name.removeprefix(folder)
                hashed[plain.encode()] = _with_hash(plain, data).encode()
                found |= _packed(name, data)
                own = members.get(f"{name}.gz")
                if own is not None and not _is_packed(own, data):
                    raise build_error("other_gzip", name=f"{name}.gz", file=name)
    for name, data in members.items():
        page = name.startswith(_PAGES) and name.endswith(".py")
        found[name] = _ADDRESS.sub(lambda m: hashed.get(m[0], m[0]), data) if page else data
    return found


def _with_hash(address: str, data: bytes) -> str:
    path = PurePosixPath(address)
    digest = blake2b(data, digest_size=16).hexdigest()[:12]  # as in the entity tag
    return str(path.with_name(f"{path.stem}.{digest}{path.suffix}"))


def _is_packed(packed: bytes, data: bytes) -> bool:
    try:
        return gzip.decompress(packed) == data
    except (OSError, EOFError, BadStream):
        return False


def _packed(name: str, data: bytes) -> dict[str, bytes]:
    """The gzip, where that is worth a round trip less."""
    small = gzip.compress(data, 9, mtime=0)
    return {f"{name}.gz": small} if len(small) < 0.9 * len(data) else {}
