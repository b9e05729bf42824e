"""Positions in lists as tokens for clients.

A cursor is a position as an opaque token, signed for one list of one tenant. A client can read its
keys, which are those of a row that it received, but cannot create one: any other token raises
BadRequest.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from ...errors import BadRequest
from ...i18n import text
from ..order import RANK, Position
from ..query import ListQuery, kind_of, order_of
from ..resource import AnyResource
from ..values import read_text, to_text

LAST = "last"
"""The cursor of the last page."""
# PERF: json.dumps with options would create an encoder at each call.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_MAC = 16  # bytes of HMAC-SHA256 in a token; RFC 2104 section 5 requires at least half


class Cursors:
    """The cursors of one tenant's list in one order; the filters may change.

    scope: identifies the list for which its cursors are signed.
    """

    def __init__(
        self, resource: AnyResource, query: ListQuery, tenant: UUID | None, secret: bytes
    ) -> None:
        self._order = order_of(resource, query)
        self._secret = secret
        names = [column.name for column in (*resource.columns, RANK)]
        self._indexes = [names.index(sort.column.name) for sort in self._order]
        order = ",".join(sort.spelled for sort in self._order)
        words = ""
        if self._order[0].column is RANK:
            words = query.q
        self.scope = f"{resource.topic} {tenant} {order} {words}"

    def at(self, values: Sequence[Any]) -> Position:
        """Return the position after a row in the result of `statement`."""
        return Position(tuple(values[n] for n in self._indexes))

    def write(self, values: Sequence[Any], backwards: bool) -> str:
        """Return the cursor that continues from a row."""
        texts = [None if key is None else to_text(key) for key in self.at(values).keys]
        return write_cursor(self._secret, self.scope, texts, backwards)

    def read(self, token: str) -> Position:
        """Return the position of a cursor. Raises BadRequest for a cursor of another list."""
        if token == LAST:
            return Position((), backwards=True)
        return read_cursor(self._secret, self.scope, token, self._keys)

    def _keys(self, texts: Sequence[str | None]) -> tuple[Any, ...]:
        keys = []
        for sort, spelled in zip(self._order, texts, strict=True):
            keys.append(None if spelled is None else read_text(kind_of(sort.column), spelled))
        return tuple(keys)


def write_cursor(secret: bytes, scope: str, keys: Sequence[str | None], backwards: bool) -> str:
    """Return the token of a position.

    scope: identifies the list and the tenant.
    keys: as text, None for NULL.
    """
    body = _encode([int(backwards), keys]).encode()
    return _encode_base64(_sign(secret, scope, body) + body)


def read_cursor(
    secret: bytes, scope: str, token: str, keys: Callable[[Sequence[str | None]], tuple[Any, ...]]
) -> Position:
    """Return the position of a token.

    keys: reads the texts; raises ValueError for texts that an earlier release has signed, when a
        column had another type.

    Raises BadRequest for a token that `write_cursor` has not returned for this scope.
    """
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        signature = raw[:_MAC]
        body = raw[_MAC:]
        is_signed = hmac.compare_digest(signature, _sign(secret, scope, body))
        if not is_signed or _encode_base64(raw) != token:
            raise ValueError("the signature does not match")
        backwards, texts = json.loads(body)
        return Position(keys(texts), bool(backwards))
    except ValueError:
        message = text("the cursor does not belong to this list; start again without it")
        raise BadRequest(message, hint="keep sort and q unchanged") from None


def _sign(secret: bytes, scope: str, body: bytes) -> bytes:
    return hmac.digest(secret, scope.encode() + b"\x00" + body, "sha256")[:_MAC]


def _encode_base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
