"""Keyset cursors: the keys of one row as an opaque token, signed for one list of one tenant.

A client can read the keys in it, which are those of a row that it was shown. It cannot make one:
what comes back is what went out, or BadRequest.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import BadRequest
from ...text import text

Keys = tuple[Any, ...]
# PERF: json.dumps with any option builds an encoder at each call.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_MAC = 16  # bytes kept of HMAC-SHA256; RFC 2104 section 5 asks for at least half of it


def write(secret: bytes, scope: str, keys: Sequence[str | None], backwards: bool) -> str:
    """The token. scope: which list it is of, and who may use it; keys: as text, None for NULL."""
    body = _encode([int(backwards), keys]).encode()
    return _spell(_sign(secret, scope, body) + body)


def read(
    secret: bytes, scope: str, token: str, keys: Callable[[Sequence[str | None]], Keys]
) -> tuple[Keys, bool]:
    """What `keys` makes of the texts, and the direction. keys: raises ValueError for texts that a
    release has signed in which a column had another type.

    Raises BadRequest for what `write` did not give for `scope`.
    """
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        signed = hmac.compare_digest(raw[:_MAC], _sign(secret, scope, raw[_MAC:]))
        if not signed or _spell(raw) != token:
            raise ValueError("not ours")
        backwards, texts = json.loads(raw[_MAC:])
        return keys(texts), bool(backwards)
    except ValueError:
        message = text("the cursor is not one of this list; start again without it")
        raise BadRequest(message, hint="keep sort and q unchanged") from None


def _sign(secret: bytes, scope: str, body: bytes) -> bytes:
    return hmac.digest(secret, scope.encode() + b"\x00" + body, "sha256")[:_MAC]


def _spell(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
