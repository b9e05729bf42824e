"""Which files of a project have changed. The kernel says when to look (inotify(7)); what changed is
found by looking, so it does not matter how an editor saves, or whether an event was lost.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

Stamp = tuple[int, int, int]  # of a file: when it was written, its size, which file it is

SETTLE = 0.015  # seconds without an event after which what is being saved is saved
LONGEST = 0.3  # seconds that events may go on: a checkout
LOOK = 1.0  # seconds between looks without an event: some file systems tell of none
OFTEN = 0.2  # the same, where the kernel tells of nothing at all
_EVENTS = 0x8 | 0x4 | 0xC0 | 0x300  # written, attributes, moved; created, deleted
_SKIPPED = frozenset(("__pycache__", "node_modules", "dist"))


class Watcher:
    """The files below `root`: none that is hidden, made by Python, or of an environment."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = -1
        if hasattr(self._libc, "inotify_init1"):
            self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._seen = dict(self._look())

    @property
    def sources(self) -> list[int]:
        """The descriptor that has something to read when it is time to look, if there is one."""
        return [self._fd] if self._fd >= 0 else []

    @property
    def patience(self) -> float:
        """Seconds after which to look without being told."""
        return LOOK if self._fd >= 0 else OFTEN

    def settle(self) -> None:
        """Wait until nobody writes any more."""
        end = time.monotonic() + LONGEST
        while time.monotonic() < end and select.select(self.sources, [], [], SETTLE)[0]:
            os.read(self._fd, 65536)

    def changed(self) -> set[str]:
        """The files that are new, gone or not as they were at the last call: "static/a.css"."""
        before, self._seen = self._seen, dict(self._look())
        return {name for name, _ in before.items() ^ self._seen.items()}

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _look(self) -> Iterator[tuple[str, Stamp]]:
        folders = [self._root]
        while folders:
            folder = folders.pop()
            # SAFETY: before it is read, so that whatever comes after that is told of.
            self._listen(folder)
            try:
                with os.scandir(folder) as entries:
                    found = list(entries)
            except OSError:  # it went away meanwhile, which is told of
                continue
            if any(entry.name == "pyvenv.cfg" for entry in found):
                continue
            for entry in found:
                if entry.name.startswith(".") or entry.name in _SKIPPED:
                    continue
                with suppress(OSError):  # as above, or a link to nothing
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                        continue
                    stat = entry.stat()
                    stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                    yield entry.path[len(self._root) + 1 :], stamp

    def _listen(self, folder: str) -> None:
        if self._fd < 0:
            return
        # Also where it listens already: another folder may have the name by now.
        got = self._libc.inotify_add_watch(self._fd, os.fsencode(folder), _EVENTS)
        if got < 0 and ctypes.get_errno() == errno.ENOSPC:  # no more watches for this user
            self.close()
