"""What one admin process leaves to the next, so that no sum of counters falls when it is killed."""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from ...observe import Snapshot

_HEAD = Struct("<QI")  # bytes, and their checksum


class Counted(NamedTuple):
    """gone: by processes that are no more. pids, latest: of each slot, the process that told last,
    and what.
    """

    gone: Snapshot
    pids: dict[int, int]
    latest: dict[int, Snapshot]


class Inheritance:
    """Memory that the parent holds for its children (memfd_create(2)); one of them writes."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("forge-counted")

    def leave(self, counted: Counted) -> None:
        """Keep this in place of what was there. Without memory the earlier one stays, or none."""
        data = pickle.dumps(counted)
        with suppress(OSError):
            os.pwrite(self._fd, _HEAD.pack(len(data), crc32(data)) + data, 0)

    def take(self) -> Counted:
        """What was left last; nothing where that was interrupted."""
        head = os.pread(self._fd, _HEAD.size, 0)
        if len(head) == _HEAD.size:
            size, checksum = _HEAD.unpack(head)
            data = os.pread(self._fd, size, _HEAD.size)
            if len(data) == size and crc32(data) == checksum:
                found: Counted = pickle.loads(data)  # our own: nobody else has this descriptor
                return found
        return Counted([], {}, {})
