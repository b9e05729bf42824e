"""Keyset cursors: the sort and the keys of one row as an opaque token. It gives nobody more than a
filter would.

The token is not secret and not signed: every value in it is read like any other text of a client,
and it enters SQL as a parameter.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from ...errors import BadRequest
from ..resource import Sort
from ..values import read_text, to_text

MAX_LENGTH = 4096


def _spell(sorts: Sequence[Sort]) -> str:
    return ",".join(("-" if s.descending else "") + s.column.name for s in sorts)


def write(sorts: Sequence[Sort], row: object, backwards: bool) -> str:
    """The token of `row` (an object with an attribute per column) in a list sorted by `sorts`."""
    values = [getattr(row, s.column.name) for s in sorts]
    texts = [None if v is None else to_text(v) for v in values]
    body = json.dumps([_spell(sorts), int(backwards), texts], separators=(",", ":"))
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


def read(token: str, sorts: Sequence[Sort]) -> tuple[tuple[Any, ...], bool]:
    """The keys and the direction. Raises BadRequest when it is not a cursor of a list sorted by
    `sorts`.
    """
    try:
        if len(token) > MAX_LENGTH:
            raise ValueError("too long")
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        spelled, backwards, texts = json.loads(raw)
        if spelled != _spell(sorts) or backwards not in (0, 1) or len(texts) != len(sorts):
            raise ValueError("of another list")
        keys = tuple(
            None if text is None and s.column.nullable else read_text(s.column.type, text)
            for s, text in zip(sorts, texts, strict=True)
        )
        return keys, bool(backwards)
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise BadRequest(
            "the cursor is not one of this list; start again without it", hint="keep sort unchanged"
        ) from None
