"""Changed files of a project, and the steps that they require.

Changes are found by comparing two scans of all files. That works with every editor and file system.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

Stamp = tuple[int, int, int]  # of a file: modification time (ns), size, inode

MIN_INTERVAL = 0.1  # seconds between scans
QUIET_TIME = 0.02  # seconds without a change after which saving is complete
MAX_WAIT = 0.3  # seconds to wait for that, for example during a checkout
_SKIPPED = frozenset(("__pycache__", "node_modules", "dist"))
_CODE = (".py", ".sql", ".toml", ".po", ".mo", ".json")


class Watcher:
    """The files below `root`, without hidden files, Python's caches and virtual environments.

    interval: seconds until the next scan, 20 times as long as the last one took. The first scan
        may be slow, because the kernel has not cached the folders.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._files = dict(self._scan())

    def changed(self) -> set[str]:
        """Return the names of files that are new, deleted or changed since the last call.

        Waits until saving is complete. A name is relative to the root: "static/a.css".
        """
        before = self._files
        self._files = dict(self._scan())
        latest = before
        end = time.monotonic() + MAX_WAIT
        while self._files != latest and time.monotonic() < end:
            time.sleep(QUIET_TIME)
            latest = self._files
            self._files = dict(self._scan())
        return {name for name, _ in before.items() ^ self._files.items()}

    def _scan(self) -> Iterator[tuple[str, Stamp]]:
        start = time.monotonic()
        for folder, folders, names in os.walk(self._root):
            if "pyvenv.cfg" in names:
                folders.clear()
                continue
            folders[:] = filter(_is_watched, folders)
            for name in filter(_is_watched, names):
                path = os.path.join(folder, name)
                with suppress(OSError):  # deleted, or a broken link
                    stat = os.stat(path)
                    stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                    yield path[len(self._root) + 1 :], stamp
        self.interval = max(MIN_INTERVAL, 20 * (time.monotonic() - start))


def _is_watched(name: str) -> bool:
    return not name.startswith(".") and name not in _SKIPPED


class Changes(NamedTuple):
    """The steps that changed files require.

    gen: write gen/, because of schemas, pages or forge.toml.
    schemas: compare the schemas with the migrations.
    code: start a new process.
    migrations: apply migrations.
    config: read forge.toml.
    assets: reload open pages.
    stylesheets: reload the stylesheets of open pages.
    style_sources: write the stylesheet, because one of its possible sources changed.
    """

    gen: bool
    schemas: bool
    code: bool
    migrations: bool
    config: bool
    assets: bool
    stylesheets: bool
    style_sources: bool


def required_by(names: Iterable[str]) -> Changes:
    """Return the steps that changed files require. names: as returned by `Watcher.changed`."""
    sources = [name for name in names if not name.startswith(("tests/", "docs/"))]
    static = [name for name in sources if name.startswith("static/")]
    gen = [name for name in sources if _is_gen_source(name)]
    migrations = [name for name in sources if name.startswith("migrations/")]
    others = set(sources) - {*static, *gen}
    has_config = "forge.toml" in others
    # forge.toml has settings of the stylesheet; their errors are shown until it changes.
    style_sources = has_config or any(
        name.endswith((".html", ".py", ".css", ".js")) for name in sources
    )
    return Changes(
        gen=bool(gen) or has_config,  # schemas may name only auth.roles
        schemas=any(name.endswith(".py") for name in gen),
        code=any(name.endswith(_CODE) for name in others),
        migrations=any(name.endswith(".sql") for name in migrations),
        config=has_config,
        assets=any(not name.endswith(".css") for name in static),
        stylesheets=any(name.endswith(".css") for name in static),
        style_sources=style_sources,
    )


def _is_gen_source(name: str) -> bool:
    folder, _, path = name.partition("/")
    inside = path.partition("/")[2]
    if folder == "resources" and inside == "schema.py":
        return True
    is_view = folder == "views" or inside.startswith("views/")
    return is_view and name.endswith((".html", ".txt"))
