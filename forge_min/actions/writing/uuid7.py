"""Time-ordered UUIDs, version 7 of RFC 9562 section 5.7, made by the client so that a row knows its
id early.
"""

from __future__ import annotations

import os
import time
from uuid import UUID

from ..values import uuid_of

_SIZE = 10  # bytes of one
_drawn: list[bytes] = []  # LOCK: none, `pop` is atomic
os.register_at_fork(after_in_child=_drawn.clear)  # SAFETY: or a child's were its parent's


def uuid7() -> UUID:
    """A new UUID: 48 bits of Unix milliseconds, 74 random bits. Safe from any thread and after a
    fork.
    """
    millis = time.time_ns() // 1_000_000 & 0xFFFFFFFFFFFF
    random = int.from_bytes(_random()) & ~(0xF << 76 | 0x3 << 62)
    return uuid_of(millis << 80 | 0x7 << 76 | 0x2 << 62 | random)


def _random() -> bytes:
    """Bytes that nobody else gets."""
    try:
        return _drawn.pop()
    except IndexError:
        # PERF: the kernel is asked without the GIL, which is another's then (benchmarks/http,
        # create).
        many = os.urandom(_SIZE * 256)
        _drawn.extend(many[start : start + _SIZE] for start in range(_SIZE, len(many), _SIZE))
        return many[:_SIZE]
