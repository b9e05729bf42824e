"""Which files of a project have changed, found by comparing two looks at all of them.

It does not matter how an editor saves, nor which file system holds the project.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

Stamp = tuple[int, int, int]  # of a file: when it was written, its size, which file it is

INTERVAL = 0.1  # seconds between looks, at least
SETTLE = 0.02  # seconds without a change after which what is being saved is saved
LONGEST = 0.3  # seconds that changes may go on: a checkout
_SKIPPED = frozenset(("__pycache__", "node_modules", "dist"))


class Watcher:
    """The files below `root`: none that is hidden, made by Python, or of an environment.

    interval: seconds to the next look, which takes a twentieth of the time at most.
    """

    def __init__(self, root: Path) -> None:
        self._root, began = str(root), time.monotonic()
        self._seen = dict(self._look())
        self.interval = max(INTERVAL, 20 * (time.monotonic() - began))

    def changed(self) -> set[str]:
        """The files that are new, gone or not as they were at the last call: "static/a.css".

        Waits until what is being saved is saved.
        """
        before, self._seen = self._seen, dict(self._look())
        latest, end = before, time.monotonic() + LONGEST
        while self._seen != latest and time.monotonic() < end:
            time.sleep(SETTLE)
            latest, self._seen = self._seen, dict(self._look())
        return {name for name, _ in before.items() ^ self._seen.items()}

    def _look(self) -> Iterator[tuple[str, Stamp]]:
        folders = [self._root]
        while folders:
            try:
                with os.scandir(folders.pop()) as entries:
                    found = list(entries)
            except OSError:  # it went away meanwhile
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
